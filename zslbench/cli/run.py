"""`zslbench run` and `zslbench compare`: execute what is missing, print what there is."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from zslbench.cli.options import RunOptions, with_run_options
from zslbench.errors import PluginError, RunError, UsageError

if TYPE_CHECKING:
    from zslbench.cli.progress import Display
    from zslbench.plan import Request, Row
    from zslbench.store import Store

METHOD = "NAME, NAME@PRESET or NAME:KEY=VALUE,... (`zslbench list methods`)"


@with_run_options
def run(method: Annotated[str, Argument(help=METHOD)], options: RunOptions) -> None:
    """Train one method, evaluate it, and store the record; stored runs are not repeated."""
    execute([method], options, default_seeds=1)


@with_run_options
def compare(methods: Annotated[list[str], Argument(metavar="METHOD...", help=METHOD)], options: RunOptions) -> None:
    """Run several methods and print one table per data set; stored runs are not repeated."""
    execute(methods, options, default_seeds=3)


def execute(methods: list[str], options: RunOptions, default_seeds: int) -> None:
    """Plans, executes and prints.

    Raises:
        UsageError: options contradict each other or name what does not exist.
        RunError: a run failed; everything else was done and printed.
    """
    if options.seed is not None and options.seeds is not None:
        raise UsageError("--seed and --seeds: give one of them")
    seeds = (options.seed,) if options.seed is not None else tuple(range(options.seeds or default_seeds))

    from zslbench.cli.progress import Display
    from zslbench.data.folders import data_root
    from zslbench.engines.base import Engine
    from zslbench.plan import Request, parse_params, plan
    from zslbench.plugins import registry
    from zslbench.runner import Setup
    from zslbench.store import Store
    from zslbench.training.device import choose_device

    choose_device(options.device)
    request = Request(
        root=data_root(options.data_root).absolute(),
        features=options.features,
        splits=options.splits,
        preset=options.preset,
        params=parse_params(options.param or []),
        scale=options.scale,
        seeds=seeds,
        precision=options.precision,
        on=options.on,
        fold=options.fold,
    )
    display = Display(plain=options.plain or options.json)
    external = [name for name in methods if name.startswith("external:")]
    trained = [name for name in methods if name not in external]
    datasets, choice = (options.dataset, "") if options.dataset else _present(request, display)
    rows = plan(trained, datasets, request)
    if choice:
        display.say(choice)
    store = Store(options.store)
    rows = _with_external(rows, external, datasets, request, store)

    name = options.engine or ("processes" if options.jobs > 1 else "inline")
    engine = registry().resolve("engine", name, Engine)(options.jobs)
    setup = Setup(store=options.store, existing=options.existing, device=options.device)
    jobs = [job for row in rows for job in row.jobs]
    with engine, display.over(jobs) as listener, redirect_stdout(sys.stderr):  # methods and engines may print
        engine.execute(jobs, setup, listener)
    for row in rows:
        row.records += [display.records[job.spec.id] for job in row.jobs if job.spec.id in display.records]
    if options.existing == "only-cached" and (absent := sum(job.spec.id not in display.records for job in jobs)):
        display.say(f"{absent} of {len(jobs)} runs are not stored, and --existing only-cached runs none")
    _print(rows, options, display)
    if display.errors:
        if options.debug:
            raise display.errors[0]
        raise RunError(
            f"{len(display.errors)} of {len(jobs)} runs failed; the others are stored. First: {display.errors[0]}"
        )


def _present(request: Request, display: Display) -> tuple[list[str], str]:
    """Returns the benchmark data sets that are there, else the embedded one, and a line that says so."""
    from zslbench.api.dataset import Dataset
    from zslbench.plugins import registry

    found = []
    for entry in registry().entries("dataset"):
        try:
            dataset = registry().resolve("dataset", entry.name, Dataset) if entry.card.benchmark else None
        except PluginError as error:  # nobody asked for this data set by name, so it costs a line and no more
            display.say(str(error))
            continue
        if dataset is not None and not dataset.missing(request.root, request.features, request.splits):
            found.append(entry.name)
    if found:
        return found, f"data sets present in {request.root}: {', '.join(found)}"
    fallback = next(entry.name for entry in registry().entries("dataset") if entry.card.embedded)
    return [fallback], (
        f"no benchmark data set with features {request.features or 'res101'} in {request.root}; "
        f"using the embedded {fallback} (--dataset names another)"
    )


def _with_external(rows: list[Row], names: list[str], datasets: list[str], request: Request, store: Store) -> list[Row]:
    """Adds a row for each `external:NAME` that has stored scores on these data sets, data set by data set."""
    from zslbench.data.xlsa17 import find_dataset
    from zslbench.errors import near_misses
    from zslbench.plan import Row

    if not names:
        return rows
    if request.on == "validation":
        raise UsageError("--on validation: scores made elsewhere are of test images; leave out external:...")
    stored = [record for record in store.records() if record.external]
    known = {record.spec.method for record in stored}
    for name in names:
        if name not in known:
            raise UsageError(
                f"no stored scores {name!r}{near_misses(name, known)}; `zslbench evaluate --save` stores some"
            )
    result = []
    for dataset in dict.fromkeys(datasets):
        own = [row for row in rows if row.jobs and row.jobs[0].source == dataset]
        result += own
        data = find_dataset(dataset).load_labels(request.root, request.splits)
        for name in names:
            matching = [r for r in stored if r.spec.method == name and r.spec.fingerprint == data.fingerprint]
            if matching:
                latest = max(matching, key=lambda record: record.provenance.get("started", ""))
                about = "(scores made elsewhere)"
                shown = own[0].dataset if own else dataset
                result.append(Row(name, name, about, latest.spec.setting, shown, data.name, [], [latest]))
    for name in names:
        if all(row.label != name for row in result):
            where = sorted({record.spec.dataset for record in stored if record.spec.method == name})
            raise UsageError(
                f"the scores {name!r} are of {', '.join(where)}, not of {', '.join(datasets)}; see --dataset"
            )
    return result


def _print(rows: list[Row], options: RunOptions, display: Display) -> None:
    from rich.console import Console

    from zslbench.report.summary import summary
    from zslbench.report.tables import print_comparison

    if options.json:
        records = [record.model_dump(mode="json") for row in rows for record in row.records]
        print(json.dumps({"runs": records, "summary": summary(rows)}, indent=1))
    else:
        console = Console(no_color=options.plain)
        print_comparison(rows, console, plain=options.plain or not console.is_terminal)
