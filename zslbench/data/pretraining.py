"""`pretraining.toml`: what whoever brought features to a data set's folder says that their network was trained on."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

from zslbench.api.cards import PRETRAINING, Pretraining, pretraining_of
from zslbench.errors import DataError
from zslbench.files import reading, write_whole

FILE = "pretraining.toml"
HEAD = "# What the network behind each file of features was trained on: " + ", ".join(PRETRAINING) + ".\n"


def told_pretraining(folder: Path) -> dict[str, Pretraining]:
    """Reads what a folder says of its features, by their names; empty where it says nothing.

    Raises:
        DataError: the file is no TOML, or says something else than one of `PRETRAINING`.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    with reading(path, "TOML", "repair or remove it"):
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: pretraining_of(value, f"{path}: {name}", DataError) for name, value in found.items()}


def tell_pretraining(folder: Path, features: str, value: Pretraining) -> None:
    """Writes what the network behind a file of features was trained on, beside what the folder says of others.

    Raises:
        DataError: the file is there and damaged, or the folder cannot be written.
    """
    told: Mapping[str, str] = told_pretraining(folder) | {features: value}
    lines = [f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(text)}\n" for name, text in sorted(told.items())]
    write_whole(folder / FILE, HEAD + "".join(lines))
