"""`zslbench run` and `zslbench compare`: execute what is missing, print what there is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from zslbench.cli.options import RunOptions, with_options
from zslbench.errors import NotApplicable, UsageError

if TYPE_CHECKING:
    from zslbench.api.evaluator import Metric
    from zslbench.cli.session import Session
    from zslbench.runs.plan import Row

METHOD = "NAME, NAME@PRESET or NAME:KEY=VALUE,... (`zslbench list methods`)"


@with_options(RunOptions)
def run(method: Annotated[str, Argument(help=METHOD)], options: RunOptions) -> None:
    """Train one method, evaluate it, and store the record; stored runs are not repeated."""
    execute([method], options, default_seeds=1, alone=True)


@with_options(RunOptions)
def compare(methods: Annotated[list[str], Argument(metavar="METHOD...", help=METHOD)], options: RunOptions) -> None:
    """Run several methods and print one table per data set; stored runs are not repeated."""
    execute(methods, options, default_seeds=3)


def execute(methods: list[str], options: RunOptions, default_seeds: int, *, alone: bool = False) -> None:
    """Plans, executes and prints.

    Raises:
        UsageError: options contradict each other or name what does not exist.
        NotApplicable: there is one method `alone`, and it can be run on none of the data sets.
        RunError: a run failed; everything else was done and printed.
    """
    seeds = chosen_seeds(options, default_seeds)
    from zslbench.cli.session import Session
    from zslbench.report.summary import named_metrics

    metrics = named_metrics(options.metrics)
    with Session(options, seeds) as session:
        rows = session.rows(methods)
        if alone and not session.display.errors and all(row.refusal for row in rows):
            raise NotApplicable(rows[0].refusal)
        _print(rows, options, metrics)
        _draw(rows, session)
        session.finish()


def chosen_seeds(options: RunOptions, default: int) -> tuple[int, ...]:
    """Returns the seeds asked for.

    Raises:
        UsageError: options contradict each other.
    """
    if options.seed is not None and options.seeds is not None:
        raise UsageError("--seed and --seeds: give one of them")
    if options.tuned and options.on == "validation":
        raise UsageError("--tuned --on validation: tuned values were chosen on those very images; leave out one")
    if options.oracle and not options.tuned:
        raise UsageError("--oracle: it looks at the trials of --tuned; give both")
    return (options.seed,) if options.seed is not None else tuple(range(options.seeds or default))


def _draw(rows: list[Row], session: Session) -> None:
    """Draws what was reconstructed, and says where."""
    from zslbench.report.grids import write_pairs

    for row in rows:
        for record in row.records:
            if path := write_pairs(record, session.store):
                session.display.say(f"reconstructions of {row.label}, seed {record.spec.seed}: {path}")


def _print(rows: list[Row], options: RunOptions, metrics: list[Metric] | None) -> None:
    from rich.console import Console

    from zslbench.report.builders import comparison_tables
    from zslbench.report.render import show
    from zslbench.report.summary import summary

    if options.json:
        records = [record.model_dump(mode="json") for row in rows for record in row.records]
        print(json.dumps({"runs": records, "summary": summary(rows)}, indent=1))
    else:
        console = Console(no_color=options.plain)
        show(comparison_tables(rows, metrics), console, plain=options.plain or not console.is_terminal)
