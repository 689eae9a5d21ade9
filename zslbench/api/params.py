"""Typed hyper-parameters: each field has a type, a valid range, a search space and a line of help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, ValidationError

from zslbench.errors import PluginError, UsageError, near_misses, one_line

GRID_POINTS = 7


class Space(BaseModel):
    """The search space of one hyper-parameter: `choices`, or the range from `low` to `high`."""

    model_config = ConfigDict(frozen=True)

    low: float | None = None
    high: float | None = None
    log: bool = False
    integer: bool = False
    choices: tuple[Any, ...] | None = None
    points: int = GRID_POINTS
    """How many values a grid takes from a range."""

    @classmethod
    def parse(cls, text: str) -> Space:
        """Reads `LOW:HIGH`, `LOW:HIGH:log`, `LOW:HIGH:log:POINTS` or the choices `A,B,C`, or raises a ValueError."""
        if ":" not in text:
            return cls(choices=tuple(text.split(",")))
        ends, rest = text.split(":")[:2], text.split(":")[2:]
        log = rest[:1] == ["log"]
        rest = rest[1:] if log else rest
        try:
            low, high = map(float, ends)
            points = int(":".join(rest)) if rest else GRID_POINTS
        except ValueError:
            raise ValueError(f"{text!r} is not LOW:HIGH, LOW:HIGH:log, LOW:HIGH:log:POINTS or A,B,C") from None
        if not -math.inf < low < high < math.inf or (log and low <= 0) or points < 2:
            raise ValueError(f"{text!r} is no range: LOW < HIGH, LOW > 0 on a logarithmic scale, 2 points or more")
        return cls(low=low, high=high, log=log, points=points)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the choices, or within the range."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None and self.high is not None
        return bool(self.low <= value <= self.high)

    def grid(self) -> list[Any]:
        """Returns all choices, or `points` values that divide the range evenly."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None and self.high is not None
        low, high = (math.log10(v) if self.log else v for v in (self.low, self.high))
        values = [low + (high - low) * i / (self.points - 1) for i in range(self.points)]
        values = [float(f"{10**v:.6g}") if self.log else v for v in values]
        return list(dict.fromkeys(round(v) for v in values)) if self.integer else values

    def __str__(self) -> str:
        if self.choices is not None:
            return ",".join(map(str, self.choices))
        log, points = ":log" * self.log, f":{self.points}" * (self.points != GRID_POINTS)
        return f"{self.low:g}:{self.high:g}{log}{points}"


def param(
    default: Any,
    help: str,
    *,
    search: tuple[float, float] | Sequence[Any] | None = None,
    log: bool = False,
    method: bool | Sequence[str] = False,
    **bounds: float,
) -> Any:
    """Declares a hyper-parameter.

    Args:
        default: a value that makes sense on any data set.
        help: one line, with the symbol of the paper.
        search: `(low, high)` for a number that tuning varies, a list for a choice, None if tuning leaves it alone.
        log: whether to search a range on a logarithmic scale.
        method: whether it names a registered method to be trained as a `Member`; or the values that name none.
        bounds: the valid values: `gt`, `ge`, `lt`, `le`.
    """
    space = None
    if isinstance(search, tuple):
        space = Space(low=search[0], high=search[1], log=log)
    elif search is not None:
        space = Space(choices=tuple(search))
    extra: dict[str, Any] = {"search": space.model_dump(exclude_defaults=True)} if space else {}
    if method:
        extra["names_none"] = [] if method is True else list(method)
    return Field(default, description=help, json_schema_extra=extra or None, **bounds)  # type: ignore[call-overload]


def read_pairs(pairs: list[str], noun: str = "parameter") -> dict[str, str]:
    """Reads `key=value` pairs; raises a UsageError if one has no `=`."""
    values = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"{noun} {pair!r} is not key=value")
        values[key.strip()] = value.strip()
    return values


class Params(BaseModel):
    """Base of every method's hyper-parameters and every data set's options: frozen, validated, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], owner: str, noun: str = "parameter") -> Self:
        """Builds parameters from values or their text; messages name the owner and the noun.

        Raises:
            UsageError: an unknown name (near misses are suggested) or a value out of range; one line.
        """
        try:
            return cls(**values)
        except ValidationError as invalid:
            error = invalid.errors()[0]
            name = str(error["loc"][0]) if error["loc"] else ""
            if error["type"] == "extra_forbidden":
                hint = near_misses(name, cls.model_fields) or "; it has none"
                raise UsageError(f"{owner} has no {noun} {name!r}{hint}") from None
            message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
            given = f"{noun} {name}={error['input']!r} " if name else ""
            raise UsageError(f"{owner}: {given}{message}") from None
        except PydanticUserError as error:  # a name in an annotation that does not exist, for instance
            raise PluginError(f"{owner}: {one_line(error)}") from None

    def changed(self) -> dict[str, Any]:
        """Returns the parameters that differ from their defaults, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def search_space(cls) -> dict[str, Space]:
        """Returns the parameters that tuning may vary, with their ranges."""
        return {
            name: Space(**field.json_schema_extra["search"], integer=field.annotation is int)  # type: ignore[arg-type]
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict) and "search" in field.json_schema_extra
        }

    def members(self) -> dict[str, str]:
        """Returns the parameters that name a method to be trained as a `Member`, with what they name."""
        return {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if isinstance(extra := field.json_schema_extra, dict) and "names_none" in extra
            if getattr(self, name) not in extra["names_none"]  # type: ignore[operator]
        }

    @classmethod
    def parse_space(cls, text: str, owner: str) -> tuple[str, Space]:
        """Reads `NAME=SPACE`; raises a UsageError unless the parameter exists and all values of its grid are valid."""
        name, separator, given = text.partition("=")
        if not separator or not given:
            raise UsageError(f"--search {text}: give NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C")
        if name not in cls.model_fields:
            raise UsageError(f"--search {text}: {owner} has no parameter {name!r}{near_misses(name, cls.model_fields)}")
        try:
            space = Space.parse(given)
            space = space.model_copy(update={"integer": cls.model_fields[name].annotation is int})
            if space.integer and any(end is not None and end % 1 for end in (space.low, space.high)):
                raise ValueError(f"{name} is a whole number")
            valid = [getattr(cls(**{name: value}), name) for value in space.grid()]
        except ValidationError as invalid:
            error = invalid.errors()[0]
            raise UsageError(f"--search {text}: {error['input']!r}: {error['msg'].removeprefix('Input ')}") from None
        except ValueError as error:
            raise UsageError(f"--search {text}: {error}") from None
        choices = None if space.choices is None else tuple(dict.fromkeys(valid))
        return name, space.model_copy(update={"choices": choices})
