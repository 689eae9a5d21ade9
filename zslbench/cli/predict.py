"""`zslbench predict`: a kept model on images or features, among its own classes or new ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_SPLITS, DEFAULT_STORE, DataRoot, Json, Plain, Splits, StoreFolder, with_options
from zslbench.errors import UsageError


@dataclass(frozen=True)
class Asking:
    """What is asked of a model."""

    dataset: Annotated[
        str | None, Option("--dataset", "-d", help="In place of INPUT: a data set, NAME or NAME:test_unseen.")
    ] = None
    classes: Annotated[
        str, Option(help="all, seen, unseen, or a file: a table of classes and attributes, or texts.")
    ] = "all"
    top: Annotated[int, Option(help="How many classes to name for each image.", min=1)] = 1
    gamma: Annotated[
        str, Option(help="Subtracted from scores of seen classes when others compete: auto, or a number.")
    ] = "auto"
    csv: Annotated[Path | None, Option(help="Write answers here as they come; the same command continues.")] = None
    grid: Annotated[Path | None, Option(help="Draw some images with their classes to this PNG.")] = None
    backbone: Annotated[str | None, Option(help="Backbone of the features, if the run does not record it.")] = None
    weights: Annotated[Path | None, Option(help="File with the backbone's weights.")] = None
    encoder: Annotated[str | None, Option(help="Encoder, if CLASSES are texts (`list text-encoders`).")] = None
    data_root: DataRoot = None
    splits: Splits = DEFAULT_SPLITS
    store: StoreFolder = DEFAULT_STORE
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto"
    json: Json = False
    plain: Plain = False


@with_options(Asking)
def predict(
    run: Annotated[str, Argument(help="Run id, or its first characters (`zslbench runs`).")],
    inputs: Annotated[
        list[Path] | None, Argument(metavar="[INPUT...]", help="Images, folders of images, or a file of features.")
    ] = None,
    *,
    options: Asking,
) -> None:
    """Recognise images with the model of a stored run, among its own classes or new ones."""
    from zslbench.bench import Bench
    from zslbench.report.predictions import answers_table, draw_predictions, lines_below
    from zslbench.report.progress import image_progress
    from zslbench.report.terminal import print_tables
    from zslbench.runs.inputs import classes_of, source_of_data, source_of_files
    from zslbench.runs.predictions import PredictionFile, Question, answered

    if bool(inputs) == bool(options.dataset):
        raise UsageError("give images or features to recognise, or --dataset, and not both")
    if options.csv and options.json:
        raise UsageError("--csv and --json: give one of them")
    bench = Bench(store=options.store, data_root=options.data_root, device=options.device, on_event=None)
    model = bench.load_model(run)
    question = Question(model, classes_of(options.classes, model, options.encoder), options.top, _gamma(options.gamma))
    if options.dataset:
        source = source_of_data(model, options.dataset, bench.root, options.splits, options.weights)
    else:
        source = source_of_files(model, inputs or [], options.backbone, options.weights)
    file = PredictionFile(options.csv, question) if options.csv else None
    left = len(source.names) - len(file.done.intersection(source.names)) if file else len(source.names)
    with image_progress(options.plain or options.json) as progress:
        answers = answered(question, source, file, lambda done: progress(done, left))
    if options.grid:
        draw_predictions(options.grid, question, source)
    if options.json:
        print(answers.to_json(orient="records", indent=1, force_ascii=False))
        return
    if file is None:
        print_tables([answers_table(answers)], plain=options.plain)
    for line in lines_below(question, source, answers, options.csv):
        print(line)


def _gamma(text: str) -> float | Literal["auto"]:
    if text == "auto":
        return "auto"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--gamma {text}: give auto, or a number")
    return value
