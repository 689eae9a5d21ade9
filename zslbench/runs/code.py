"""The code behind a run: the harness's, the plugin's and the method's. It is compared when a run is sent elsewhere."""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock

import zslbench
from zslbench.discovery.plugins import plugins
from zslbench.discovery.registry import Entry
from zslbench.errors import RunError

# CPython 3.11 counts the depth of a tree in one place for all threads: two that make one at a time raise SystemError.
_one_tree = Lock()


def code_of(entry: Entry, method: type) -> dict[str, str]:
    """Returns version and source of the harness and of a method's plugin, by what they are called in messages."""
    return {
        "zslbench": own_code(),
        f"method {entry.name}": f"{plugin_of(entry)} (source {method_code(method)})",
    }


def check_code(here: Mapping[str, str], sent: Mapping[str, str]) -> None:
    """Raises a RunError where a run was sent by other code than would execute it, which may give other numbers."""
    for name, code in sent.items():
        if here.get(name) != code:
            raise RunError(
                f"{name} is {here.get(name, 'absent')} in the process that would execute the run, {code} in the one "
                "that planned it; install the same on every machine, and begin again where files changed meanwhile"
            )


def plugin_of(entry: Entry) -> str:
    """Returns name and version of the distribution that a method is from; a single file is its own owner."""
    by_owner = {f"{p.distribution}:{p.name}": f"{p.distribution} {p.version}" for p in plugins().loaded}
    return by_owner.get(entry.plugin, entry.plugin)


def own_code() -> str:
    """Returns version and source of zslbench as it is installed here."""
    return f"{zslbench.__version__} (source {harness_code()})"


@cache
def harness_code() -> str:
    """Returns a hash of the source of zslbench as it is installed here."""
    home = Path(zslbench.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        digest.update(path.relative_to(home).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def method_code(method: type) -> str:
    """Returns a hash of a method's source without comments and docstrings: its module, and what that imports beside it.

    Stored runs whose hash differs may be results of another state of the method, whose author forgot its `version`.
    """
    sources: dict[str, str] = {}
    pending = [method.__module__]
    while pending:
        name = pending.pop()
        module = sys.modules.get(name)
        if module is None or name in sources:
            continue
        sources[name] = ""
        with suppress(OSError, TypeError, SyntaxError):  # no source: a method typed in somewhere
            sources[name] = _without_docstrings(inspect.getsource(module))
        homes = {value.__name__ if inspect.ismodule(value) else _home(value) for value in vars(module).values()}
        pending += [home for home in homes if home.split(".")[0] == name.split(".")[0]]
    return hashlib.sha256("\n".join(sources[name] for name in sorted(sources)).encode()).hexdigest()[:16]


def _home(value: object) -> str:
    home = getattr(value, "__module__", "")
    return home if isinstance(home, str) else ""


@cache
def _without_docstrings(source: str) -> str:
    with _one_tree:
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
