"""`zslbench data build` and `data extract`: data sets and visual features from images of one's own."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from zslbench.cli.data import Name, exit_if_failed, print_findings
from zslbench.cli.images import name_some, progress_of_images
from zslbench.cli.options import DataRoot, Plain, with_options
from zslbench.data.folders import data_root as root_of
from zslbench.errors import UsageError

if TYPE_CHECKING:
    from zslbench.preparation.features import Extractor

SECONDS_OF_SILENCE = 10.0

Backbone = Annotated[
    str, Option(help="`list backbones`, torchvision:NAME or timm:NAME; a name alone is looked for in this order.")
]


@dataclass(frozen=True)
class Computing:
    """How features are computed and progress is shown."""

    weights: Annotated[
        Path | None, Option(help="A safetensors file or a state dict, instead of pretrained weights.")
    ] = None
    pretrained: Annotated[bool, Option("--pretrained/--no-pretrained", help="Pretrained weights, or random ones.")] = (
        True
    )
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    batch_size: Annotated[
        int | None,
        Option(min=1, help="Images at a time to begin with; halved where memory ends.", show_default="by device"),
    ] = None
    seed: Annotated[int, Option(min=0, help="What is drawn is drawn by it.")] = 0
    plain: Plain = False

    @contextmanager
    def extractor(self, backbone: str) -> Iterator[Extractor]:
        """Gives what computes features and shows how far it is; says so if its weights do not come at once."""
        from threading import Timer

        from zslbench.preparation.backbones import load_backbone
        from zslbench.preparation.features import Extractor
        from zslbench.training.device import choose_device

        device = choose_device(self.device)
        waiting = Timer(SECONDS_OF_SILENCE, lambda: typer.echo(f"waiting for the weights of {backbone}", err=True))
        waiting.daemon = True
        waiting.start()
        try:
            loaded = load_backbone(backbone, self.weights, self.pretrained, self.seed)
        finally:
            waiting.cancel()
        with progress_of_images(self.plain) as progress:
            yield Extractor(loaded, device, self.batch_size, progress)


@with_options(Computing)
def build(
    folder: Annotated[Path, Argument(metavar="DIR", help="Folder to make the data set in.")],
    images: Annotated[Path, Option(help="Folder of images: a sub-folder for each class.")],
    attributes: Annotated[Path, Option(help="CSV: class names in the first column, then a column for each attribute.")],
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
        new, skipped = make(planned, extractor)
    if not new:
        typer.echo(f"{folder}: nothing to do, all of it was there already")
    if skipped:
        typer.echo(f"skipped {len(skipped)} images that cannot be read, listed in {folder / SKIPPED}")
        name_some([f"{image}: {reason}" for image, reason in skipped.items()])
    dataset, features = XLSA17Dataset.at(folder), extractor.loaded.features
    findings = audit_dataset(dataset, folder, features)
    print_findings(findings, f"{folder}, features {features}")
    _next(_path(folder), "" if dataset.card.default_features == features else features)
    exit_if_failed(findings)


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
    _next(name if out is None else _path(out), extractor.loaded.features if out is None else "")


def _path(folder: Path) -> str:
    """Returns a folder so that no name of a registered data set can be meant."""
    return str(folder) if len(folder.parts) > 1 else f"./{folder}"


def _next(name: str, features: str) -> None:
    option = f" --features {features}" if features else ""
    typer.echo(f"next: zslbench run eszsl --dataset {shlex.quote(name)}{option}")
