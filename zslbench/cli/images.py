"""`zslbench data images`: which of a data set's images are there, and which of them can be decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from zslbench.cli.data import Name
from zslbench.cli.options import DataRoot, Plain
from zslbench.data.folders import data_root as root_of
from zslbench.errors import UsageError
from zslbench.files import existing

if TYPE_CHECKING:
    from zslbench.api.images import Images
    from zslbench.data.made import Progress

SHOWN = 20
"""How many images are named."""


def images(
    name: Name,
    folder: Annotated[
        Path | None,
        Option(
            "--from", metavar="DIR", help="Folder that has the images, at any depth; it is kept for later commands."
        ),
    ] = None,
    decode: Annotated[bool, Option("--decode", help="Decode each image, too: minutes for large data sets.")] = False,
    data_root: DataRoot = None,
    plain: Plain = False,
) -> None:
    """Find the images of a data set, and say which are missing; exit status 1 if any is."""
    from zslbench.data.catalogue import find_dataset
    from zslbench.data.decoding import undecodable
    from zslbench.data.foldercard import images_folder, remember_images
    from zslbench.data.xlsa17 import XLSA17Dataset

    root, dataset = root_of(data_root), find_dataset(name)
    missing: list[int] = []
    found: Images | None
    if isinstance(dataset, XLSA17Dataset):
        folder = folder and existing("--from", folder, folder=True)
        files = dataset.file_images(root, images=folder)
        where, missing = folder or images_folder(dataset.folder(root)), files.missing
        typer.echo(f"{name}: {len(files) - len(missing)} of {len(files)} images found below {where}")
        name_some([f"missing: {files.name(row)}" for row in missing])
        if folder is not None and len(missing) < len(files):
            remember_images(dataset.folder(root), folder)
        found = files
    else:
        if folder is not None:
            raise UsageError(f"data set {name!r} has no image files, so --from has no meaning for it")
        found = dataset.load_images(root).images
        assert found is not None
        typer.echo(f"{name}: {len(found)} images, in no files")
    damaged: dict[int, str] = {}
    if decode:
        with progress_of_images(plain) as progress:
            there = sorted(set(range(len(found))).difference(missing))
            damaged = undecodable(found, there, progress)
        typer.echo(f"{name}: {len(there) - len(damaged)} of {len(there)} can be decoded")
        name_some([f"damaged: {found.name(row)}: {why}" for row, why in damaged.items()])
    if missing or damaged:
        raise typer.Exit(1)


@contextmanager
def progress_of_images(plain: bool) -> Iterator[Progress]:
    """Shows how many images are done: a bar on a terminal, a line every few seconds elsewhere."""
    import sys
    import time

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from zslbench.report.progress import SECONDS_BETWEEN_LINES

    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    moving = not plain and sys.stderr.isatty()
    last = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), disable=not moving, transient=True) as bar:
        task = bar.add_task("images", total=None)

        def show(done: int, total: int) -> None:
            nonlocal last
            bar.update(task, completed=done, total=total)
            if not moving and time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"images {done}/{total}", file=sys.stderr, flush=True)

        yield show


def name_some(images: Sequence[str]) -> None:
    """Prints a line for each of the first images, and how many there are besides."""
    for image in images[:SHOWN]:
        typer.echo(f"  {image}")
    if len(images) > SHOWN:
        typer.echo(f"  and {len(images) - SHOWN} more")
