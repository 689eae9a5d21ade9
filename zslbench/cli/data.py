"""`zslbench data`: list, get, verify, audit, describe and split data sets; make other class embeddings for one."""

from __future__ import annotations

import csv
import json as jsonlib
import shlex
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from zslbench.api.cards import Pool, Pretraining
from zslbench.cli.options import DEFAULT_SPLITS, DataRoot, Features, Json, Plain, Splits
from zslbench.data.folders import data_root as folder
from zslbench.errors import DataError, PluginError, UsageError, printable
from zslbench.files import existing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.progress import Progress, TaskID

    from zslbench.data.audit import Finding

app = typer.Typer(no_args_is_help=True, help="List, get, verify, audit, describe and split data sets.")

Name = Annotated[str, Argument(help="Name of a data set, NAME:OPTION=VALUE,..., or a folder in the xlsa17 layout.")]


@app.command("list")
def list_(data_root: DataRoot = None) -> None:
    """Show which data sets are present, with which features and split files."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from zslbench.data.catalogue import find_dataset
    from zslbench.data.xlsa17 import XLSA17Dataset
    from zslbench.discovery.plugins import registry

    root = folder(data_root)
    table = Table("name", "title", "present", "features", "splits", box=None, pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for entry in registry().entries("dataset"):
        try:
            dataset = find_dataset(entry.name)
        except PluginError as error:
            row = ["broken", str(error), ""]
        else:
            if isinstance(dataset, XLSA17Dataset):
                problem, splits = dataset.missing_split(root), dataset.split_files(root)
                features = dataset.feature_files(root)
            else:
                problem, features, splits = dataset.missing(root), [dataset.card.default_features], []
            row = ["no" if problem else "yes", ", ".join(features) or "none", ", ".join(splits)]
        table.add_row(*map(Text, [entry.name, entry.card.title, *row]))
    _print_lines([("", f"data sets below {root}", "")])
    Console().print(table)


@app.command("get")
def get(names: Annotated[list[str], Argument(help="Names of data sets.")], data_root: DataRoot = None) -> None:
    """Download the official archive (0.9 GB, once; FLO has another) and unpack what was asked for."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    from zslbench.data.catalogue import find_dataset
    from zslbench.data.download import get as fetch
    from zslbench.data.xlsa17 import XLSA17Dataset

    root, targets = folder(data_root), []
    for name in names:
        dataset = find_dataset(name)
        if not isinstance(dataset, XLSA17Dataset) or dataset.folder(root).parent != root:
            raise UsageError(f"data set {name!r} is not one to download: it needs no files, or is a folder of yours")
        targets.append(dataset.folder(root).name)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for target in targets:
            task = bar.add_task(target, total=None, visible=False)
            added = fetch(target, root, partial(_downloaded, bar, task))
            there = ", ".join(path.name for path in added) or "nothing, it was there already"
            typer.echo(f"{root / target}: added {there}")


def _downloaded(bar: Progress, task: TaskID, done: int, total: int) -> None:
    bar.update(task, completed=done, total=total or None, visible=True)


@app.command("verify")
def verify(name: Name, data_root: DataRoot = None, json: Json = False, plain: Plain = False) -> None:
    """Read every file to its end, and what the cache has of it, and compare sizes with the published ones."""
    from zslbench.data.audit import verify_dataset
    from zslbench.data.catalogue import find_dataset

    findings = verify_dataset(find_dataset(name), folder(data_root))
    _report(findings, {"dataset": name}, f"{name} below {folder(data_root)}", json, plain)


@app.command("audit")
def audit(
    name: Name,
    splits: Splits = DEFAULT_SPLITS,
    features: Features = None,
    data_root: DataRoot = None,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Check what a careful researcher would check; exit status 1 if something is wrong."""
    from zslbench.data.audit import audit_dataset
    from zslbench.data.catalogue import find_dataset

    findings = audit_dataset(find_dataset(name), folder(data_root), features, splits)
    _report(findings, {"dataset": name, "splits": splits}, f"{name}, {splits}", json, plain)


@app.command("pretraining")
def pretraining(
    name: Name,
    value: Annotated[
        Pretraining | None, Argument(help="What the network was trained on.", show_default="print what is known")
    ] = None,
    features: Features = None,
    data_root: DataRoot = None,
) -> None:
    """Say what the network behind visual features was trained on, or print what is known; tables show it.

    What you say is kept in `pretraining.toml` in the folder of the data set, and stands above what other files say.
    """
    from zslbench.data.catalogue import find_dataset
    from zslbench.data.pretraining import tell_pretraining
    from zslbench.data.xlsa17 import XLSA17Dataset

    root, dataset = folder(data_root), find_dataset(name)
    if not isinstance(dataset, XLSA17Dataset):
        raise UsageError(f"data set {name!r} has no files of features; it says itself what they are from")
    present = dataset.feature_files(root)
    if value is not None and features is None and len(present) > 1:
        raise UsageError(f"{name} has {', '.join(present)}; name those that you mean by --features")
    chosen = present if features is None else [features]
    if problem := dataset.missing(root, chosen[0] if chosen else None):
        raise DataError(problem)
    for each in chosen:
        if value is not None:
            tell_pretraining(dataset.folder(root), each, value)
        typer.echo(f"{each}: {dataset.pretraining(root, each)}")


@app.command("describe")
def describe(name: Name, splits: Splits = DEFAULT_SPLITS, data_root: DataRoot = None) -> None:
    """Print the data card, its options, and how far the attributes shift from trainval to test_unseen images."""
    from zslbench.data.audit import describe as card_of
    from zslbench.data.catalogue import find_dataset

    dataset = find_dataset(name)
    fields = card_of(dataset.card, dataset.load_labels(folder(data_root), splits)) | {"title": dataset.name}
    for option, field in type(dataset.options).model_fields.items():
        fields[f"option {option}"] = f"{getattr(dataset.options, option)} ({field.description})"
    width = max(map(len, fields))
    _print_lines([("", f"{field:{width}}  {value}", "") for field, value in fields.items()])


@app.command("split")
def split(name: Name, splits: Splits = DEFAULT_SPLITS, data_root: DataRoot = None) -> None:
    """List the images as a table: number from 1, class, and part; trainval is cut as runs cut it to choose gamma."""
    from zslbench.data.catalogue import find_dataset

    data = find_dataset(name).load_labels(folder(data_root), splits)
    cut, whole = data.split_for(0), data.split
    parts = {
        "train": cut.train,
        "validation_seen": cut.test_seen,
        "validation_unseen": cut.test_unseen,
        "test_seen": whole.test_seen,
        "test_unseen": whole.test_unseen,
    }
    part_of = {row: part for part, rows in parts.items() for row in rows.tolist()}
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(["image", "class", "part"])
    table.writerows([row + 1, data.class_names[data.labels[row]], part_of[row]] for row in sorted(part_of))


def _report(findings: Sequence[Finding], about: dict[str, str], title: str, json: bool, plain: bool) -> None:
    """Prints findings as JSON or for people, and ends the command with status 1 if a check failed."""
    if json:
        typer.echo(jsonlib.dumps({**about, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        print_findings(findings, title, plain)
    exit_if_failed(findings)


def print_findings(findings: Sequence[Finding], title: str, plain: bool = False) -> None:
    """Prints a line for each finding, below a title; `plain` without colours."""
    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    lines = [("", title, "")]
    for found in findings:
        head = f"[{colours[found.verdict]}]{found.verdict:4}[/]  "
        lines.append((head, f"{found.check}: {found.value}", f"  ({found.detail})" if found.detail else ""))
    _print_lines(lines, plain)


def _print_lines(lines: Sequence[tuple[str, str, str]], plain: bool = False) -> None:
    """Prints each line unbroken, so that it can be searched: a marked-up head, then plain text, then dim text."""
    from rich.console import Console
    from rich.text import Text

    console = Console(color_system=None if plain else "auto")
    for head, text, aside in lines:
        told = Text(printable(text)) + Text(printable(aside), style="dim")
        console.print(Text.from_markup(head) + told, soft_wrap=True)


def exit_if_failed(findings: Sequence[Finding]) -> None:
    """Ends the command with status 1 if a check failed."""
    if any(found.verdict == "fail" for found in findings):
        raise typer.Exit(1)


@app.command("semantics")
def semantics(
    name: Name,
    source: Annotated[
        Path | None,
        Option(
            "--from",
            metavar="FILE",
            help="Word vectors (GloVe or word2vec text format), or texts: a .csv with the columns class and text, "
            "a .json of class to texts, a folder of CLASS.txt, or a .txt of lines CLASS: TEXT.",
            show_default="the names of the classes",
        ),
    ] = None,
    encoder: Annotated[
        str | None, Option(help="Text encoder for texts and names.", show_default="the only one installed")
    ] = None,
    template: Annotated[
        list[str] | None,
        Option(
            metavar="'TEXT {}'",
            help="Text in which a class name stands for {}, or a file with one a line; of several the mean counts.",
            show_default="the encoder's own",
        ),
    ] = None,
    pool: Annotated[Pool, Option(help="How the embeddings of several texts become one.")] = "mean",
    rename: Annotated[
        Path | None,
        Option(metavar="FILE", help="Which class a name in the file of texts means: a table of names and classes."),
    ] = None,
    words: Annotated[
        list[str] | None,
        Option(metavar="'CLASS=WORDS'", help="Words to look up in place of a class name; repeat it for more."),
    ] = None,
    names: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="What classes are called, where the data set does not say: a name a line in its order, or a table of "
            "class numbers or names, and names.",
        ),
    ] = None,
    out: Annotated[Path | None, Option(metavar="FILE", help="Where to write.", show_default="NAME-SOURCE.csv")] = None,
    splits: Splits = DEFAULT_SPLITS,
    data_root: DataRoot = None,
    plain: Plain = False,
) -> None:
    """Make class embeddings from word vectors, texts or class names, in a file that --semantics reads."""
    from zslbench.data.catalogue import find_dataset
    from zslbench.preparation.semantics import from_names, from_texts, from_words, read_names, write
    from zslbench.preparation.texts import is_texts, read_renames

    vectors = source is not None and not is_texts(source)
    if encoder and vectors:
        raise UsageError(f"--encoder {encoder}: {source} holds no texts, and word vectors need no encoder")
    if words and not vectors:
        raise UsageError("--words says what to look up among word vectors; change the texts or --names")
    if rename and (source is None or vectors):
        raise UsageError("--rename is for names in a file of texts; give the file by --from")
    if template and source is not None:
        raise UsageError("--template is for names of classes, which --from replaces; leave one of them out")
    pairs = _pairs(words or [])
    source = source and existing("--from", source, folder=source.is_dir())
    data = find_dataset(name).load_labels(folder(data_root), splits)
    own = data.class_names
    called = {} if names is None else read_names(existing("--names", names), own)
    real = list(called.values()) or own
    renames = None if rename is None else read_renames(existing("--rename", rename), real)
    if source is None:
        made = from_names(real, encoder, template or ())
    elif vectors:
        made = from_words(source, own, called | pairs)
    else:
        made = from_texts(source, real, encoder, pool, renames)
    target = out or Path("-".join([data.name.lower().replace(" ", "-"), *made.called]) + ".csv")
    state = "written" if write(target, own, made.rows, made.source, made.notes) else "there already, the same"
    use = shlex.join(["zslbench", "run", "eszsl", "--dataset", name, "--semantics", str(target)])
    size = f"{len(own)} classes, {made.rows.shape[1]} values each"
    _print_lines([("", f"{given!r} is taken for {class_!r}", "") for given, class_ in made.guesses.items()], plain)
    _print_lines([("", f"{target}: {size}; {made.said} ({state})", ""), ("", f"use it: {use}", "")], plain)


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for text in words:
        name, separator, given = text.partition("=")
        if not separator or not given.strip():
            raise UsageError(f"--words {text!r} is not CLASS=WORDS")
        pairs[name.strip()] = given.strip()
    return pairs
