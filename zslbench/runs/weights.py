"""Files of weights: what a run's identity says of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zslbench.api.embedder import Embedder, ImageParams
from zslbench.api.params import Params
from zslbench.data.digests import file_digest
from zslbench.errors import DataError, UsageError, near_misses
from zslbench.preparation.backbones import files_digest

BACKBONE = "backbone"
"""The part that is not trained, and that every method on images has."""


def digests(method: type[Embedder[Any]], owner: str, files: Mapping[str, Path], params: Params) -> dict[str, str]:
    """Returns the first 16 hexadecimal digits of the SHA-256 of each file of weights, named by itself or a backbone."""
    if method.input == "features":
        return {}
    parts, found = (BACKBONE, *method.parts), {}
    for part, path in files.items():
        if part not in parts:
            raise UsageError(f"--weights {part}: {owner} has no such part{near_misses(part, parts)}")
        try:
            found[part] = file_digest(path)[:16]
        except OSError as error:
            raise DataError(f"{path}: it cannot be read ({error.strerror})") from error
    if isinstance(params, ImageParams) and BACKBONE not in found and (own := files_digest(params.backbone)):
        found[BACKBONE] = own[:16]
    return found
