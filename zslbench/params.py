"""Typed hyper-parameters: each field has a type, a valid range, a search space and a line of help."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zslbench.errors import UsageError, near_misses


class Space(BaseModel):
    """The search space of one hyper-parameter: `choices`, or the range from `low` to `high`."""

    model_config = ConfigDict(frozen=True)

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None


def param(
    default: Any,
    help: str,
    *,
    search: tuple[float, float] | Sequence[Any] | None = None,
    log: bool = False,
    **bounds: float,
) -> Any:
    """Declares a hyper-parameter.

    Args:
        default: the value that makes sense on any data set.
        help: one line, with the symbol of the paper.
        search: `(low, high)` for a number that tuning varies, a list for a choice, None for what tuning leaves alone.
        log: search a range on a logarithmic scale.
        bounds: what is valid at all: `gt`, `ge`, `lt`, `le`.
    """
    space = None
    if isinstance(search, tuple):
        space = Space(low=search[0], high=search[1], log=log)
    elif search is not None:
        space = Space(choices=tuple(search))
    extra = {"search": space.model_dump(exclude_defaults=True)} if space else None
    return Field(default, description=help, json_schema_extra=extra, **bounds)  # type: ignore[call-overload]


class Params(BaseModel):
    """Base of every method's hyper-parameters: frozen, validated, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Mapping[str, Any], owner: str) -> Self:
        """Builds parameters from values or their text.

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
                raise UsageError(f"{owner} has no parameter {name!r}{hint}") from None
            message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
            if not name:
                raise UsageError(f"{owner}: {message}") from None
            raise UsageError(f"{owner}: parameter {name}={error['input']!r} {message}") from None

    def changed(self) -> dict[str, Any]:
        """Returns the parameters that differ from their defaults, as JSON values."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def search_space(cls) -> dict[str, Space]:
        """Returns the parameters that tuning may vary, with their ranges."""
        extras = {name: field.json_schema_extra for name, field in cls.model_fields.items()}
        return {name: Space(**extra["search"]) for name, extra in extras.items() if isinstance(extra, dict)}  # type: ignore[arg-type]
