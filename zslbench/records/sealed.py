"""Records and logs as they are sealed, now and by the version before."""

from __future__ import annotations

import hashlib
import json

from zslbench import files
from zslbench.files import Unsealed


def unseal(content: bytes) -> bytes:
    """Returns the JSON of a sealed record or log.

    That of the version before has a checksum of its values, whatever their layout.

    Raises:
        Unsealed: there is no checksum.
        ValueError: the content does not fit it.
    """
    try:
        return files.unseal(content)
    except Unsealed:
        values = json.loads(content)
        if not isinstance(values, dict) or "checksum" not in values:
            raise
    checksum = values.pop("checksum")
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    if checksum != hashlib.sha256(canonical).hexdigest():
        raise ValueError("its content does not fit its checksum")
    return canonical


def named_by(content: bytes, what: str) -> str:
    """Returns the name of a file of decisions, or of a model, which has its checksum in it."""
    return f"{what}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
