"""`zslbench run`, `compare`, `tune` and `evaluate`: execute what is missing, print what there is."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Argument, Option

from zslbench.api.cards import Pretraining
from zslbench.cli.export import ExportOptions
from zslbench.cli.options import (
    DEFAULT_SPLITS,
    DEFAULT_STORE,
    DataRoot,
    Json,
    Options,
    Plain,
    RunOptions,
    Splits,
    StoreFolder,
    with_options,
)
from zslbench.errors import UsageError

if TYPE_CHECKING:
    from zslbench.report.progress import Display
    from zslbench.report.results import Results

METHOD = "NAME, NAME@PRESET or NAME:KEY=VALUE,... (`zslbench list methods`)"


@with_options(RunOptions)
def run(method: Annotated[str, Argument(help=METHOD)], options: RunOptions) -> None:
    """Train one method, evaluate it, and store the record; stored runs are not repeated."""
    with options.bench() as (bench, display):
        results = bench.compare([method], **options.request(seeds=1))
        if not results.errors:
            results.check()  # a method that cannot be run here is one line, not a table
        if options.json:
            print(jsonlib.dumps(results.json(), indent=1))
        else:
            results.show(plain=options.plain)
        _say_pictures(results, display)
    results.check()


@with_options(ExportOptions)
def compare(
    methods: Annotated[list[str], Argument(metavar="METHOD...", help=METHOD)],
    options: ExportOptions,
    figure: Annotated[
        Path | None,
        Option(help="Draw --metrics, or AUSUC, against several --shots, with intervals over seeds: .png or .pdf."),
    ] = None,
) -> None:
    """Run several methods and print one table per data set; stored runs are not repeated."""
    options.format()
    if figure is not None:
        _check_figure(figure, options)
    with options.bench() as (bench, display):
        results = bench.compare(methods, **options.request())
        path = options.export(
            results,
            ["compare", *methods],
            json=lambda: jsonlib.dumps(results.json(), indent=1),
            show=lambda: results.show(plain=options.plain),
        )
        _say_pictures(results, display)
        if path:
            display.say(f"wrote {path}")
        if figure is not None:
            display.say(f"wrote {', '.join(map(str, results.figure(figure)))}")
    results.check()


def _check_figure(path: Path, options: ExportOptions) -> None:
    """Raises a UsageError where no figure can come of these options; before anything runs."""
    from zslbench.files import writable
    from zslbench.report.shots import check_figure

    check_figure(path)
    if "," not in (options.shots or ""):
        raise UsageError("--figure: it shows several numbers of training images; give --shots 1,2,4,8 for instance")
    writable("--figure", path)


def _say_pictures(results: Results, display: Display) -> None:
    for label, path in results.draw():
        display.say(f"reconstructions of {label}: {path}")


@with_options(Options)
def tune(method: Annotated[str, Argument(help=METHOD)], options: Options) -> None:
    """Choose hyper-parameters on validation classes; `run --tuned` and `compare --tuned` use the result."""
    from zslbench.report.builders import search_table
    from zslbench.report.terminal import print_tables
    from zslbench.runs.request import Asked

    with options.bench() as (bench, _):
        searches = bench.tune(method, **options.request())
    if options.json:
        found = [
            {"id": one.id, "tuned": one.tuned, "value": one.best.value, **one.model_dump(mode="json")}
            for one in searches
        ]
        print(jsonlib.dumps(found, indent=1))
    else:
        label = Asked.of(method).for_input(options.input).label
        print_tables([search_table(search, label) for search in searches], plain=True)


def evaluate(
    scores: Annotated[
        Path, Argument(help="Class scores of every test image: .csv, .npy, .npz, .safetensors, .pt or .mat.")
    ],
    dataset: Annotated[str, Option("--dataset", "-d", help="Name or folder of the data set.")],
    validation: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="Class scores of the validation images (`zslbench data split`: validation_seen and validation_unseen) "
            "for the classes of trainval, of a model trained on its train images alone; gamma is chosen on them, as "
            "for other methods. With image numbers.",
        ),
    ] = None,
    images: Annotated[
        Path | None, Option(help="Image numbers, from 1, where SCORES has none: one a line, or an array.")
    ] = None,
    name: Annotated[str | None, Option(help="Name in tables.", show_default="the file's name")] = None,
    setting: Annotated[
        Literal["inductive", "semantic-transductive", "transductive", "unknown"],
        Option(help="What the method saw in training."),
    ] = "unknown",
    pretraining: Annotated[
        Pretraining, Option(help="What the network behind the features was trained on.")
    ] = "unknown",
    data_root: DataRoot = None,
    splits: Splits = DEFAULT_SPLITS,
    metrics: Annotated[
        list[str] | None,
        Option(metavar="NAME,...", help="Measure these too, which are measured on request; repeat it for more."),
    ] = None,
    save: Annotated[bool, Option("--save", help="Store a record that `compare external:NAME` shows.")] = False,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Evaluate class scores made elsewhere; no features are needed."""
    from zslbench.bench import Bench

    bench = Bench(store=store, data_root=data_root)
    results = bench.evaluate(
        scores,
        dataset,
        images=images,
        name=name,
        setting=setting,
        splits=splits,
        save=save,
        validation=validation,
        metrics=metrics,
        pretraining=pretraining,
    )
    if json:
        print(jsonlib.dumps(results.json(), indent=1))
    else:
        results[0].show(plain=plain)
