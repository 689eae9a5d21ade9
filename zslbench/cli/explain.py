"""`zslbench explain`: look inside a stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_SPLITS, DEFAULT_STORE, DataRoot, Plain, Splits, StoreFolder


def explain(
    run: Annotated[str, Argument(help="Run id, or its first characters (`zslbench show`).")],
    dataset: Annotated[
        str | None, Option("--dataset", "-d", help="The run's data set: adds how well attributes can be read.")
    ] = None,
    figure: Annotated[Path | None, Option(help="Draw it to this PNG.")] = None,
    data_root: DataRoot = None,
    splits: Splits = DEFAULT_SPLITS,
    store: StoreFolder = DEFAULT_STORE,
    plain: Plain = False,
) -> None:
    """Show which unseen classes fail, what they are taken for, hubs, and what attributes the embedding keeps."""
    from zslbench.bench import Bench
    from zslbench.report.insight import draw_insight, insight_tables
    from zslbench.report.render import print_tables

    bench = Bench(store=store, data_root=data_root, on_event=None)
    result = bench.record(run)
    features = result.record.spec.features or None
    data = None if dataset is None else bench.load(dataset, features=features, splits=splits)
    print_tables(insight_tables(result, data), plain=plain)
    if figure is not None:
        draw_insight(figure, result)
        print(f"figure: {figure}")
