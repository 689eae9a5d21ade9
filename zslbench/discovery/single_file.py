"""A method that is a single file outside any package: `zslbench run ./my_method.py`.

Its content is part of a run's identity, so an edited file never mixes with the results of an earlier state of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from zslbench.api.cards import is_name
from zslbench.api.embedder import Embedder
from zslbench.discovery.objects import made_card
from zslbench.discovery.plugins import flat, registry
from zslbench.discovery.registry import Registry
from zslbench.errors import PluginError, UsageError, one_line

SUFFIX = ".py"


def method_name(text: str) -> str:
    """Returns the registered name of a method given by its name, its title or its file."""
    return registry().name("method", adopted(text))


def adopted(text: str) -> str:
    """Returns the name of the method in a file, which is registered; any other text as it is.

    Raises:
        UsageError: there is no such file, or it cannot be told apart from a module that is installed.
        PluginError: the file cannot be imported, or defines no method or more than one.
    """
    return _adopt(Path(text).expanduser().resolve()) if text.endswith(SUFFIX) else text


@cache
def _adopt(path: Path) -> str:
    """Registers the method of a file, once in a process; returns its name.

    A file without `zslbench_register` is given a card made of its class's name and docstring.
    """
    if not path.is_file():
        raise UsageError(f"method {path}: there is no such file")
    source = path.read_bytes()
    module = _import(path, source)
    staged = Registry()
    register = getattr(module, "zslbench_register", None)
    try:
        if register is not None:
            register(staged)
        else:
            method = _only_embedder(module, path)
            name = path.stem.replace("_", "-").lower()
            if not is_name(name):
                raise UsageError("rename the file: lower-case letters, digits and single underscores, then .py")
            staged.method(name, f"{module.__name__}:{method.__name__}", made_card(method))
        names = staged.names("method")
        if len(names) != 1:
            raise PluginError(f"it registers {len(names)} methods; one is needed")
        registry().adopt(staged, str(path), path, hashlib.sha256(source).hexdigest()[:16])
    except Exception as error:
        del sys.modules[module.__name__]
        raise PluginError(f"{path}: {one_line(error)}") from error
    return names[0]


def _import(path: Path, source: bytes) -> ModuleType:
    """Imports the file under its own name, so that what it registers is found there."""
    found = importlib.util.find_spec(path.stem)
    if found is not None and found.origin != str(path):
        raise UsageError(f"{path}: there is another module {path.stem!r} ({found.origin}); rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None  # its suffix is that of a source file
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[path.stem]
        inside = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}: line {inside[-1]}" if inside else str(path)
        raise PluginError(f"{where}: {flat(error)}") from error
    return module


def _only_embedder(module: ModuleType, path: Path) -> type[Embedder[Any]]:
    """Returns the one embedder that the file defines; those that others of it extend do not count."""
    own = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Embedder) and value.__module__ == module.__name__
        if not name.startswith("_")
    ]
    leaves = [method for method in own if not any(other is not method and issubclass(other, method) for other in own)]
    if len(leaves) != 1:
        found = ", ".join(method.__name__ for method in leaves) or "none"
        raise PluginError(f"one class that extends Embedder is needed; found {found}")
    return leaves[0]
