"""Methods given as classes: registered ones have a name, others get one for this process.

The content of a class is part of a run's identity, like the content of a single file. So a class edited in a notebook
never mixes with the results of an earlier state of it.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from contextlib import suppress
from types import CodeType, FunctionType
from typing import Any

from zslbench.api.cards import MethodCard
from zslbench.api.embedder import Embedder
from zslbench.discovery.plugins import registry

OWNER = "this process"
_PLAIN = (str, bytes, int, float, complex, bool, type(None), tuple)


def class_name(method: type[Embedder[Any]]) -> str:
    """Returns the registered name of a class; one that is not registered gets a name made of its own."""
    known = registry()
    for entry in known.entries("method"):
        if entry.target == f"{method.__module__}:{method.__qualname__}" or entry.given is method:
            return entry.name
    name = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", method.__name__).lower()).strip("-")
    own = [entry.name for entry in known.entries("method") if entry.plugin == OWNER]
    while name in known.names("method") and name not in own:
        name = f"own-{name}"
    known.give("method", name, method, made_card(method), OWNER, code_of(method))
    return name


def made_card(method: type[Embedder[Any]]) -> MethodCard:
    """Returns a card made of a class's name and docstring."""
    summary = (method.__doc__ or "").strip().partition("\n")[0]
    return MethodCard(title=method.__name__, paper="unpublished", summary=summary, input=method.input)


def code_of(method: type[Embedder[Any]]) -> str:
    """Returns a hash of what a class does: its functions, those of its bases, and what they use of their modules.

    Installed packages are left out: their methods have versions.
    """
    parts: dict[str, str] = {}
    for base in method.__mro__:
        if base.__module__.partition(".")[0] not in ("zslbench", "torch", "builtins", "typing"):
            _add_class(base, parts)
    params = method.params_type
    if params.__module__.partition(".")[0] != "zslbench":
        parts["params"] = repr(sorted((name, repr(field)) for name, field in params.model_fields.items()))
    text = "\n".join(f"{name}: {parts[name]}" for name in sorted(parts))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _add_class(cls: type, parts: dict[str, str]) -> None:
    for name, value in vars(cls).items():
        where = f"{cls.__qualname__}.{name}"
        function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "__func__", None) or value)
        if isinstance(function, FunctionType):
            _add_function(function, where, parts)
        elif isinstance(value, _PLAIN) and not name.startswith("__"):
            parts[where] = repr(value)


def _add_function(function: FunctionType, where: str, parts: dict[str, str]) -> None:
    """Adds a function and, once each, the functions, classes and plain values of its own module that it uses."""
    if where in parts:
        return
    parts[where] = f"{_code(function.__code__)} {function.__defaults__} {function.__kwdefaults__}"
    with suppress(ValueError):  # a cell that is empty so far
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        parts[where] += repr([value for value in cells if isinstance(value, _PLAIN)])
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType) and value.__module__ == function.__module__:
            _add_function(value, value.__qualname__, parts)
        elif isinstance(value, type) and value.__module__ == function.__module__ and f"{name}:" not in parts:
            parts[f"{name}:"] = "class"
            _add_class(value, parts)
        elif isinstance(value, _PLAIN) and not name.startswith("__"):
            parts[name] = repr(value)


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _code(code: CodeType) -> str:
    """Returns a function's instructions and constants, without the lines and the file that they come from."""
    constants = [_constant(value) for value in code.co_consts]
    return f"{code.co_code.hex()} {constants} {code.co_names} {code.co_varnames}"


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _code(value)
    return str(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
