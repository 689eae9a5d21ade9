"""Where data sets and caches live on the user's disk."""

from __future__ import annotations

import os
import tempfile
import warnings
from pathlib import Path

from platformdirs import user_cache_path

from zslbench.errors import Hint, UsageError
from zslbench.files import expanded


def cache_folder() -> Path:
    """Returns the folder for what can be made again: `ZSLBENCH_CACHE`, else the user's cache folder.

    Where the user has no home, as in some containers, it is a folder below the system's temporary one.

    Raises:
        UsageError: that one belongs to somebody else, who might have put there what is no cache.
    """
    override = os.environ.get("ZSLBENCH_CACHE")
    if override:
        return expanded(Path(override))
    try:
        return user_cache_path("zslbench", appauthor=False)
    except RuntimeError:
        return _without_home()


def _without_home() -> Path:
    folder = Path(tempfile.gettempdir()) / f"zslbench-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        own = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
    except OSError:
        own = False
    if not own:
        raise UsageError(f"no home folder is known, and {folder} is not yours; name folders by HOME or ZSLBENCH_CACHE")
    warnings.warn(f"no home folder is known: caches are in {folder}; ZSLBENCH_CACHE names another", Hint, stacklevel=3)
    return folder


def data_root(option: Path | None = None) -> Path:
    """Returns the folder that holds the data sets: `--data-root`, else `ZSLBENCH_DATA`, else below the cache folder."""
    if option is not None:
        return expanded(option)
    override = os.environ.get("ZSLBENCH_DATA")
    return expanded(Path(override)) if override else cache_folder() / "xlsa17"
