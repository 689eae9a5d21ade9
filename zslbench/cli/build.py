"""`zslbench data images`, `build` and `extract`: images of one's own, and data sets and visual features from them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from zslbench.api.cards import Pretraining
from zslbench.cli.data import Name, exit_if_failed, print_findings
from zslbench.cli.options import DataRoot, Plain, with_options
from zslbench.data.folders import data_root as root_of
from zslbench.errors import UsageError, printable
from zslbench.files import existing

if TYPE_CHECKING:
    from zslbench.api.images import Images
    from zslbench.data.imagefiles import Copies, FileImages
    from zslbench.preparation.build import Plan
    from zslbench.preparation.features import Extractor

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
    from zslbench.report.progress import image_progress

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
        name_copies(name, files, files.copies(dataset.read_split(root).parts))
        found = files
    else:
        if folder is not None:
            raise UsageError(f"data set {name!r} has no image files, so --from has no meaning for it")
        found = dataset.load_images(root).images
        assert found is not None
        typer.echo(f"{name}: {len(found)} images, in no files")
    damaged: dict[int, str] = {}
    if decode:
        with image_progress(plain) as progress:
            there = sorted(set(range(len(found))).difference(missing))
            damaged = undecodable(found, there, progress)
        typer.echo(f"{name}: {len(there) - len(damaged)} of {len(there)} can be decoded")
        name_some([f"damaged: {found.name(row)}: {why}" for row, why in damaged.items()])
    if missing or damaged:
        raise typer.Exit(1)


def name_some(images: Sequence[str]) -> None:
    """Prints a line for each of the first images, and how many there are besides."""
    for image in images[:SHOWN]:
        typer.echo(f"  {image}")
    if len(images) > SHOWN:
        typer.echo(f"  and {len(images) - SHOWN} more")


def name_copies(name: str, images: FileImages, copies: Sequence[Copies]) -> None:
    """Prints which images have the content of another, those in several parts of the split first."""
    if not copies:
        return
    several = [same for same in copies if same.in_several_parts]
    count = sum(len(same.rows) for same in copies)
    typer.echo(
        f"{name}: {count} images are only {len(copies)}, byte by byte, and {len(several)} of these are in several parts"
    )
    ordered = sorted(copies, key=lambda same: not same.in_several_parts)
    name_some([f"{' = '.join(map(images.name, same.rows))} ({', '.join(same.parts) or 'no part'})" for same in ordered])


SECONDS_OF_SILENCE = 10.0

Backbone = Annotated[
    str,
    Option(
        help="What makes the features, of `zslbench list backbones`: NAME or, of a family, PREFIX:NAME, such as "
        "timm:vit_small_patch16_224; a NAME alone is looked for in the families too."
    ),
]


@dataclass(frozen=True)
class Computing:
    """How features are computed and progress is shown."""

    weights: Annotated[
        Path | None, Option(help="A safetensors file or a state dict, instead of pretrained weights.")
    ] = None
    no_pretrained: Annotated[bool, Option("--no-pretrained", help="Random weights, not pretrained ones.")] = False
    pretraining: Annotated[
        Pretraining | None,
        Option(help="What the weights were trained on, which tables show.", show_default="what is known of them"),
    ] = None
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    batch_size: Annotated[
        int | None,
        Option(min=1, help="Images at a time; halved when memory runs out.", show_default="by device"),
    ] = None
    seed: Annotated[int, Option(min=0, help="Seed of the random draw.")] = 0
    plain: Plain = False

    @contextmanager
    def extractor(self, backbone: str) -> Iterator[Extractor]:
        """Gives what computes features and shows how far it is; says so if its weights do not come at once."""
        from threading import Timer

        from zslbench.preparation.backbones import load_backbone, pretraining_of_backbone
        from zslbench.preparation.features import Extractor
        from zslbench.report.progress import image_progress
        from zslbench.training.device import choose_device

        if self.weights and self.no_pretrained:
            raise UsageError("--weights and --no-pretrained contradict each other; give one of them")
        device = choose_device(self.device)
        waiting = Timer(SECONDS_OF_SILENCE, lambda: typer.echo(f"waiting for the weights of {backbone}", err=True))
        waiting.daemon = True
        waiting.start()
        try:
            loaded = load_backbone(backbone, self.weights, not self.no_pretrained, self.seed)
        finally:
            waiting.cancel()
        if self.no_pretrained and not loaded.backbone.state_dict():
            raise UsageError(f"--no-pretrained: backbone {backbone} has no weights; leave it out")
        with image_progress(self.plain) as progress:
            trained_on = self.pretraining or pretraining_of_backbone(backbone, self.weights, not self.no_pretrained)
            yield Extractor(loaded, device, self.batch_size, progress, trained_on)


@with_options(Computing)
def build(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder to make the data set in.")],
    images: Annotated[Path, Option(help="Folder of images: in it a folder for each class, called as the class is.")],
    attributes: Annotated[
        Path, Option(help="Table, CSV of any spreadsheet: class names first, then a column for each attribute.")
    ],
    backbone: Backbone,
    splits: Annotated[
        Path | None, Option(help="CSV with class,role (seen, validation, unseen) or image,part (trainval, test_*).")
    ] = None,
    unseen_classes: Annotated[str | None, Option(metavar="A,B,C", help="Names of the unseen classes.")] = None,
    random_unseen: Annotated[
        float | None, Option(help="Share of the classes to draw as unseen.", show_default="0.2")
    ] = None,
    *,
    options: Computing,
) -> None:
    """Make a data set from a folder of images and a table of class attributes.

    Run again, it goes on where it was stopped; images that cannot be read are listed and skipped.
    """
    given = {"--splits": splits, "--unseen-classes": unseen_classes, "--random-unseen": random_unseen}
    if len(named := [option for option, value in given.items() if value is not None]) > 1:
        raise UsageError(f"{' and '.join(named)} contradict each other; give one of them")

    from zslbench.data.audit import audit_dataset
    from zslbench.data.xlsa17 import XLSA17Dataset
    from zslbench.preparation.build import SKIPPED, plan
    from zslbench.preparation.build import build as make

    planned = plan(folder, images, attributes, splits, unseen_classes, random_unseen, options.seed)
    with options.extractor(backbone) as extractor:
        _say_unseen(planned, options.seed)
        new, skipped = make(planned, extractor)
    if not new:
        typer.echo(f"{folder}: nothing to do, all of it was there already")
    if skipped:
        typer.echo(f"skipped {len(skipped)} images that cannot be read, listed in {folder / SKIPPED}")
        name_some([f"{image}: {reason}" for image, reason in skipped.items()])
    dataset, features = XLSA17Dataset.at(folder), extractor.loaded.features
    findings = audit_dataset(dataset, folder, features)
    print_findings(findings, f"{folder}, features {features}")
    next_command(folder, "" if dataset.card.default_features == features else features)
    exit_if_failed(findings)


def _say_unseen(planned: Plan, seed: int) -> None:
    """Prints which classes are unseen, before the work begins."""
    names, classes = ", ".join(map(printable, planned.unseen)), len(planned.images.class_names)
    drawn = f" (drawn by --seed {seed}; choose others by --unseen-classes)" if planned.drawn else ""
    typer.echo(f"{planned.folder.name}: {len(planned.unseen)} of {classes} classes are unseen: {names}{drawn}")


@with_options(Computing)
def extract(
    name: Name,
    backbone: Backbone,
    images: Annotated[
        Path | None, Option(help="Folder that has the images, at any depth.", show_default="the data set's own")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Another folder to write to; it becomes a data set with the same splits.")
    ] = None,
    data_root: DataRoot = None,
    *,
    options: Computing,
) -> None:
    """Compute further visual features for a data set whose images are there.

    Run again, it goes on where it was stopped.
    """
    from zslbench.data.catalogue import find_dataset
    from zslbench.data.xlsa17 import XLSA17Dataset
    from zslbench.preparation.features import add_features

    root, dataset = root_of(data_root), find_dataset(name)
    if not isinstance(dataset, XLSA17Dataset):
        raise UsageError(f"data set {name!r} has no files, so its images have no names to find them by")
    with options.extractor(backbone) as extractor:
        new = add_features(dataset, root, extractor, images, out)
    path = extractor.path(dataset.folder(root) if out is None else out)
    typer.echo(f"added {path}" if new else f"{path}: nothing to do, it was there already")
    next_command(name if out is None else out, extractor.loaded.features if out is None else "")


def next_command(dataset: str | Path, features: str = "") -> None:
    """Prints a command that runs a method on a data set: a name, or a folder that no name can be mistaken for."""
    name = str(dataset)
    if isinstance(dataset, Path) and len(dataset.parts) == 1:
        name = f"./{dataset}"
    option = f" --features {features}" if features else ""
    typer.echo(f"next: zslbench run eszsl --dataset {shlex.quote(name)}{option}")
