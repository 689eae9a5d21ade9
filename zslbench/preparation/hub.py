"""Weights that libraries download: fetched while a server answers, and checked whenever they are read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zslbench.data.contents import digests
from zslbench.errors import DataError

PATIENCE_S = 5.0
"""How long a server of weights may take to answer."""


def check_download(file: Path, digest: str) -> None:
    """Checks what was downloaded before against the beginning of its SHA-256: libraries look at it once, on the way."""
    found = digests([file])[0]
    if found is not None and not found.sha256.startswith(digest):
        raise DataError(f"{file}: damaged, its content is not what was downloaded; remove it, and it is fetched again")


def check_kept(repository: str, *names: str) -> None:
    """Checks the files that huggingface_hub keeps of a repository, whose names are their SHA-256 behind a link.

    Raises:
        DataError: one of them is damaged.
    """
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        kept = try_to_load_from_cache(repository, name)
        file = Path(kept).resolve() if isinstance(kept, str) else None
        if file is not None and re.fullmatch("[0-9a-f]{64}", file.name):
            check_download(file, file.name)


@contextmanager
def reaching_hub() -> Iterator[None]:
    """Keeps huggingface_hub silent, and to its cache where no server answers: it would try again for a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    logger = logging.getLogger("huggingface_hub")
    level, offline = logger.level, constants.HF_HUB_OFFLINE
    logger.setLevel(logging.ERROR)
    try:
        get_session().head(constants.ENDPOINT, timeout=PATIENCE_S)
    except Exception:  # of the library that fetches, which has been another in other versions
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        logger.setLevel(level)
        constants.HF_HUB_OFFLINE = offline
