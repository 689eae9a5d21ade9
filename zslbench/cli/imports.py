"""`zslbench data import`: features that others made, in the files that they made, become a data set."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from zslbench.api.cards import Pretraining
from zslbench.cli.build import next_command
from zslbench.cli.data import exit_if_failed, print_findings
from zslbench.cli.options import Plain
from zslbench.errors import UsageError, printable
from zslbench.files import expanded

Pool = Literal["mean", "max", "keep"]


def import_(
    files: Annotated[
        list[Path],
        Argument(
            metavar="FILE...",
            help="Files of features: .mat, HDF5, .npz, .npy, .pt or .safetensors; or shards, in Parquet or tars of "
            "webdataset, in the order of their images.",
        ),
    ],
    name: Annotated[Path, Option("--as", metavar="NAME", help="Folder to make the data set in; its name too.")],
    splits: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The split: att_splits.mat, or a table with class,role or image,part.",
            show_default="that of FILE",
        ),
    ] = None,
    labels: Annotated[
        str,
        Option(metavar="FILE[:ARRAY]", help="The class of each image.", show_default="of FILE, or beside the split"),
    ] = "",
    semantics: Annotated[
        str,
        Option(metavar="FILE[:ARRAY]", help="Class embeddings.", show_default="of FILE, or of the split"),
    ] = "",
    take: Annotated[
        list[str] | None,
        Option(
            metavar="ROLE=ARRAY",
            help="What an array is whose name does not tell: features, labels, semantics, ...; repeat it for more.",
        ),
    ] = None,
    pool: Annotated[
        Pool | None, Option(help="How feature maps become features.", show_default="mean over places")
    ] = None,
    count_from: Annotated[
        int | None,
        Option(min=0, max=1, help="Whether labels and image numbers count from 0 or 1.", show_default="what they tell"),
    ] = None,
    pretraining: Annotated[
        Pretraining | None, Option(help="What the network behind the features was trained on.", show_default="unknown")
    ] = None,
    layout: Annotated[str, Option(help="One of `zslbench list layouts`.", show_default="what the files tell")] = "",
    seed: Annotated[int, Option(min=0, help="Seed of test_seen images, where a table divides only classes.")] = 0,
    plain: Plain = False,
) -> None:
    """Make a data set from files of features, whatever their layout.

    What was taken for what is printed, and kept in NAME/card.toml. Shards are read in little memory; stopped, the same
    command goes on where it was.
    """
    from zslbench.data.arrayfile import forget_rows
    from zslbench.data.audit import audit_dataset
    from zslbench.data.xlsa17 import XLSA17Dataset
    from zslbench.preparation.importing import Sources, gather
    from zslbench.preparation.importwrite import write
    from zslbench.report.progress import image_progress

    folder = expanded(name).absolute()
    sources = Sources(
        tuple(map(expanded, files)),
        None if splits is None else expanded(splits),
        labels,
        semantics,
        _roles(take or []),
        pool or "",
        count_from,
        layout,
        seed,
    )
    with image_progress(plain) as progress:
        imported = gather(sources, folder.name, progress)
    typer.echo(printable(f"{folder.name}: {files[0].name} is of layout {imported.layout}"))
    for role, origin in imported.origin.items():
        typer.echo(printable(f"  {role}: {origin}"))
    for note in imported.notes:
        typer.echo(printable(f"  {note}"))
    new, features = write(folder, imported, sources, pretraining), imported.data.features_name
    if new:
        typer.echo(f"{folder.name}: written {features}.mat, att_splits.mat, card.toml")
    else:
        typer.echo(f"{folder.name}: nothing to do, all of it was there already")
    findings = audit_dataset(XLSA17Dataset.at(folder), folder, features)
    forget_rows(sources.files)
    print_findings(findings, f"{folder.name}, features {features}", plain)
    next_command(name)
    exit_if_failed(findings)


def _roles(take: list[str]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in take:
        role, separator, array = text.partition("=")
        if not separator or not array.strip():
            raise UsageError(f"--take {shlex.quote(text)}: give ROLE=ARRAY, features=x for instance")
        if role.strip() in roles:
            raise UsageError(f"--take {role.strip()}: it is given twice")
        roles[role.strip()] = array.strip()
    return roles
