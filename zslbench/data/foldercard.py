"""`card.toml`: what a folder in the xlsa17 layout says of itself; its owner may edit it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zslbench.api.cards import DatasetCard
from zslbench.errors import DataError, near_misses
from zslbench.files import reading, write_whole

FILE, IMAGES = "card.toml", "images.txt"
TEXTS = ("title", "citation", "licence", "homepage", "summary", "default_features")
FLAG, SOURCE = "attributes", "source"
HEAD = "# What tables and `zslbench data describe` say of this data set; edit it as you like.\n"


def read_card(folder: Path) -> DatasetCard:
    """Reads the card of a folder; without one, the data set is called as the folder is.

    Raises:
        DataError: the card is no TOML, or a field is unknown or of the wrong type.
    """
    values = _read(folder)
    values.pop(SOURCE, None)
    path = folder / FILE
    for name, value in values.items():
        if name not in (*TEXTS, FLAG):
            raise DataError(f"{path}: there is no field {name!r}{near_misses(name, (*TEXTS, FLAG))}")
        if not isinstance(value, bool if name == FLAG else str):
            raise DataError(f"{path}: {name} must be {'true or false' if name == FLAG else 'a text in quotes'}")
    default = {"title": folder.name, "citation": "", "licence": "", "summary": f"the folder {folder}"}
    given = {name: value for name, value in values.items() if value != ""}
    return DatasetCard(**{**default, **given}, benchmark=False)


def images_folder(folder: Path) -> Path:
    """Returns where the images of a data set are.

    That is where the one line of its `images.txt` says, else where its card says, else its sub-folder `images`.
    """
    path = folder / IMAGES
    if path.exists():
        with reading(path, "text", "repair or remove it"):
            line = path.read_text(encoding="utf-8").strip()
    else:
        source = _read(folder).get(SOURCE, {})
        line = str(source.get("images", "")) if isinstance(source, dict) else ""
    return folder / Path(line or "images").expanduser()


def remember_images(folder: Path, images: Path) -> None:
    """Writes where the images of a data set are, for `images_folder`.

    Raises:
        DataError: the folder cannot be written.
    """
    write_whole(folder / IMAGES, f"{images.expanduser().absolute()}\n")


def write_card(folder: Path, card: DatasetCard, source: Mapping[str, str | Sequence[str]]) -> None:
    """Writes a card where there is none yet, with what the data set was made from."""
    if (folder / FILE).exists():
        return
    lines = [f"{name} = {_quoted(getattr(card, name))}\n" for name in TEXTS]
    lines += [f"{FLAG} = {str(card.attributes).lower()}\n", f"\n[{SOURCE}]\n"]
    lines += [f"{name} = {_quoted(value)}\n" for name, value in source.items()]
    write_whole(folder / FILE, HEAD + "".join(lines))


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    if not path.exists():
        return {}
    with reading(path, "TOML", "repair or remove it"):
        return tomllib.loads(path.read_text(encoding="utf-8"))


def _quoted(text: str | Sequence[str]) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
