"""JSON that carries a checksum of its bytes, so that a flipped bit never becomes a number in a table."""

from __future__ import annotations

import hashlib
import json
from typing import Any

HEAD, TAIL = b'{\n "sha256": "', b'",\n'
"""What stands before and after the checksum, a hexadecimal SHA-256 of all that follows; the whole is a JSON object."""
DIGITS = 64
BODY = len(HEAD) + DIGITS + len(TAIL)


class Unsealed(ValueError):
    """Text has no checksum: it is of a version that wrote none, or damaged."""


def seal(values: dict[str, Any]) -> str:
    """Returns JSON values, at least one, as text that begins with the checksum of the rest."""
    body = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).removeprefix("{\n")
    return f"{HEAD.decode()}{hashlib.sha256(body.encode()).hexdigest()}{TAIL.decode()}{body}"


def unseal(content: bytes) -> bytes:
    """Returns what `seal` was given, as JSON.

    Raises:
        Unsealed: there is no checksum.
        ValueError: the content does not fit it.
    """
    if not (content.startswith(HEAD) and content[BODY - len(TAIL) : BODY] == TAIL):
        return _unseal_values(content)
    body = content[BODY:]
    if content[len(HEAD) : len(HEAD) + DIGITS] != hashlib.sha256(body).hexdigest().encode():
        raise ValueError("its content does not fit its checksum")
    return b"{\n" + body


def decisions_name(content: bytes) -> str:
    """Returns the name of a file of decisions, which is their checksum."""
    return f"decisions-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"


def _unseal_values(content: bytes) -> bytes:
    """Does the same for text of the version before, whose checksum is of the values, whatever their layout."""
    values = json.loads(content)
    if not isinstance(values, dict) or "checksum" not in values:
        raise Unsealed("it has no checksum")
    checksum = values.pop("checksum")
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if checksum != hashlib.sha256(canonical).hexdigest():
        raise ValueError("its content does not fit its checksum")
    return canonical
