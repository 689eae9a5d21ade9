"""`zslbench explain` and `measure`: stored runs, looked into and measured by further evaluators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_SPLITS, DEFAULT_STORE, DataRoot, Plain, Splits, StoreFolder
from zslbench.errors import UsageError, printable


def explain(
    run: Annotated[str, Argument(help="Run id, or its first characters (`zslbench runs`).")],
    dataset: Annotated[
        str | None, Option("--dataset", "-d", help="The run's data set: adds how well attributes can be read.")
    ] = None,
    figure: Annotated[Path | None, Option(help="Draw the findings to this PNG file.")] = None,
    data_root: DataRoot = None,
    splits: Splits = DEFAULT_SPLITS,
    store: StoreFolder = DEFAULT_STORE,
    plain: Plain = False,
) -> None:
    """Show which unseen classes fail, what they are taken for, hubs, and what attributes the embedding keeps."""
    from zslbench.bench import Bench
    from zslbench.report.insight import draw_insight, insight_tables
    from zslbench.report.terminal import print_tables

    bench = Bench(store=store, data_root=data_root, on_event=None)
    result = bench.record(run)
    features = result.record.spec.features or None
    data = None if dataset is None else bench.load(dataset, features=features, splits=splits)
    print_tables(insight_tables(result, data), plain=plain)
    if figure is not None:
        draw_insight(figure, result)
        print(f"figure: {figure}")


def measure(
    runs: Annotated[list[str] | None, Argument(metavar="[RUN...]", help="Run ids, or their first characters.")] = None,
    every: Annotated[bool, Option("--all", help="Every stored run.")] = False,
    evaluator: Annotated[str | None, Option(help="Only this evaluator (`list evaluators`).")] = None,
    dataset: Annotated[str | None, Option("--dataset", "-d", help="Data set, if records do not name it.")] = None,
    data_root: DataRoot = None,
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Measure stored runs by evaluators that were installed later; nothing is trained."""
    from typer import Exit

    from zslbench.bench import Bench
    from zslbench.evaluation.measuring import metrics

    if bool(runs) == every:
        raise UsageError("give run ids, or --all for every run")
    titles, problems = metrics(), 0
    for one in Bench(store=store, data_root=data_root).measure(runs or None, evaluator=evaluator, dataset=dataset):
        spec = one.record.spec
        said = [f"{titles[name].title} {titles[name].text(value)}" for name, value in one.added.items()]
        said += [one.problem] if one.problem else []
        problems += bool(one.problem)
        print(printable(f"{one.record.id} {spec.method} on {spec.dataset}: {', '.join(said) or 'nothing is missing'}"))
    if problems:
        raise Exit(1)
