"""What a file was made from, kept in the file as a variable `source`, so that a command can tell its own work."""

from __future__ import annotations

import json
from pathlib import Path

from zslbench.data.matfile import read_strings

VARIABLE = "source"


def written(source: dict[str, str]) -> dict[str, str]:
    """Returns the variable to write."""
    return {VARIABLE: json.dumps(source, sort_keys=True)}


def made_from(path: Path) -> dict[str, str]:
    """Returns what a .mat file was made from; empty if it does not say.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        found = json.loads("".join(read_strings(path, VARIABLE) or ()))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
