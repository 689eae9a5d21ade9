"""Where data sets and caches live on the user's disk."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Returns the folder for what can be made again: `ZSLBENCH_CACHE`, else the user's cache folder."""
    override = os.environ.get("ZSLBENCH_CACHE")
    return Path(override).expanduser() if override else user_cache_path("zslbench", appauthor=False)


def data_root(option: Path | None = None) -> Path:
    """Returns the folder that holds the data sets: `--data-root`, else `ZSLBENCH_DATA`, else below the cache folder."""
    if option is not None:
        return option.expanduser()
    override = os.environ.get("ZSLBENCH_DATA")
    return Path(override).expanduser() if override else cache_folder() / "xlsa17"
