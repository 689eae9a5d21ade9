"""JSON that carries a checksum of its content, so that a flipped bit never becomes a number in a table."""

from __future__ import annotations

import hashlib
import json
from typing import Any

CHECKSUM = "checksum"


def seal(values: dict[str, Any]) -> str:
    """Returns JSON values as text, their checksum first."""
    return json.dumps({CHECKSUM: _checksum(values), **values}, indent=1, ensure_ascii=False, allow_nan=False)


def unseal(content: bytes) -> dict[str, Any]:
    """Returns what `seal` was given, or raises a ValueError; text of older versions has no checksum."""
    values = json.loads(content)
    if not isinstance(values, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 (of what was read, not of an argument)
    checksum = values.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(values):
        raise ValueError("its content does not fit its checksum")
    return values


def _checksum(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
