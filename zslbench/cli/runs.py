"""`zslbench runs`: the list of stored runs, and what is done with them as a whole; `zslbench show` shows one."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from dataclasses import asdict
from shutil import get_terminal_size
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option

from zslbench.cli import exchange
from zslbench.cli.options import DEFAULT_STORE, DataRoot, Filter, Json, StoreFolder
from zslbench.errors import UsageError, printable

_PLURALS: dict[Literal["record", "search", "checkpoint"], str] = {
    "record": "records",
    "search": "searches",
    "checkpoint": "checkpoints",
}
RUN = "Run id, or its first characters."

app = typer.Typer()


@app.callback(invoke_without_command=True)
def list_(
    context: typer.Context,
    filter: Filter = None,
    sort: Annotated[
        str, Option(metavar="KEY", help="Sort by a key of --filter, metrics best first; -KEY reverses it.")
    ] = "date",
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    csv: Annotated[bool, Option("--csv", help="Everything about each run, one line a run.")] = False,
) -> None:
    """List stored runs, oldest first, and look after them.

    A filter has words such as tuned, default, preset, given, trial, model and noted, and keys with =, !=, < and >, such
    as 'method=spaen dataset=cub,sun tuned h>30'. A wrong one tells you which there are.
    """
    if context.invoked_subcommand is not None:
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(f"--{name}: write it after `{context.invoked_subcommand}`")
        return
    if json and csv:
        raise UsageError("--json and --csv: give one of them")

    from zslbench.records.filters import chosen, in_order, named
    from zslbench.records.listing import listing
    from zslbench.records.store import Store
    from zslbench.report import listed

    found = listing(Store(store, create=False))
    runs = in_order(found, chosen(found, filter or []), sort)
    if json:
        print(jsonlib.dumps([asdict(run) for run in runs], indent=1))
    elif csv:
        from zslbench.report.render import as_csv

        print(as_csv([listed.data_table(found, runs)]), end="")
    elif not runs:
        print(f"none of {len(found.runs)} runs fits" if found.runs else "no runs are stored")
    else:
        wanted = [sort.removeprefix("-"), *named(filter or [])]
        print(listed.runs_text(found, runs, get_terminal_size().columns, wanted))


@app.command()
def verify(store: StoreFolder = DEFAULT_STORE, json: Json = False) -> None:
    """Check that all that is stored is whole, and that metrics follow from the stored decisions.

    What is damaged is set aside, and the command that made it makes it again. The exit status is 1 where something is.
    """
    from zslbench.bench import Bench

    found = Bench(store=store, on_event=None).verify()
    damaged = [one for one in found if one.problem]
    if json:
        print(jsonlib.dumps([asdict(one) for one in found], indent=1))
        raise typer.Exit(int(bool(damaged)))
    for one in damaged:
        print(printable(f"damaged {one.kind} {one.name}: {one.problem}"))
    for one in found:
        if one.kind == "leftover":
            print(printable(f"leftover {one.name}: nothing reads it; `zslbench runs prune --damaged` removes it"))
    exchange.print_unchecked(name for one in found for name in one.unchecked)
    counts = Counter(one.kind for one in found)
    kinds = [f"{plural} {counts[kind]}" for kind, plural in _PLURALS.items()]
    print(f"checked: {', '.join(kinds)}; damaged: {len(damaged)}")
    raise typer.Exit(int(bool(damaged)))


@app.command()
def note(
    run: Annotated[str, Argument(help=RUN)],
    text: Annotated[str, Argument(help="The note; an empty text removes it.")],
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Write a note about a run, in place of the one it has."""
    from zslbench.records.store import Store

    opened = Store(store, create=False)
    found = opened.lookup(run).id
    opened.set_note(found, text)
    print(printable(f"{found}: {opened.note(found) or 'no note'}"))


@app.command()
def diff(
    first: Annotated[str, Argument(metavar="A", help=RUN)],
    second: Annotated[str, Argument(metavar="B", help=RUN)],
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Show what differs between two runs: settings, environment, metrics, classes with the largest change first."""
    from zslbench.evaluation.measuring import metrics
    from zslbench.records.difference import differences
    from zslbench.records.store import Store
    from zslbench.report.listed import difference_tables
    from zslbench.report.terminal import print_tables

    opened = Store(store, create=False)
    a, b = opened.lookup(first), opened.lookup(second)
    found = differences(a, b)
    if json:
        print(jsonlib.dumps({"a": a.id, "b": b.id, **asdict(found)}, indent=1))
        return
    print(printable(f"A: {a.id}, {a.spec.method} on {a.spec.dataset}, seed {a.spec.seed}"))
    print(printable(f"B: {b.id}, {b.spec.method} on {b.spec.dataset}, seed {b.spec.seed}"))
    print_tables(difference_tables(found, metrics(), ("A", "B"), get_terminal_size().columns), plain=True)


@app.command()
def repeat(
    run: Annotated[str, Argument(help=RUN)],
    tolerance: Annotated[
        float, Option(help="How far a metric may change: points where tables show percent.", min=0)
    ] = 0.5,
    dataset: Annotated[
        str | None, Option("--dataset", "-d", help="The run's data set, if its record does not say where it is found.")
    ] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_root: DataRoot = None,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Train a stored run again from its record, and compare; nothing is stored.

    The exit status is 1 where a metric changed by more than the tolerance.
    """
    from zslbench.bench import Bench
    from zslbench.evaluation.measuring import metrics

    with Bench(store=store, data_root=data_root, device=device) as bench:
        found = bench.repeat(run, dataset=dataset)
    titles = metrics()
    beyond = {
        name: change
        for name, change in found.changes.items()
        if abs(change) * (100 if name in titles and titles[name].percent else 1) > tolerance
    }
    if json:
        answer: dict[str, Any] = {"id": found.stored.id, "identical": found.identical, "changes": found.changes}
        print(jsonlib.dumps({**answer, "beyond": sorted(beyond)}, indent=1))
        raise typer.Exit(int(bool(beyond)))
    for name, change in beyond.items():
        before, after = (titles[name].text(one.metrics[name]) for one in (found.stored, found.again))
        print(printable(f"{titles[name].title}: {before} stored, {after} now ({titles[name].text(change, '+')})"))
    how = "bit for bit" if found.identical else "within the tolerance, though not bit for bit"
    failed = f"not repeated: {len(beyond)} metrics changed by more than {tolerance:g}"
    print(f"{found.stored.id}: {failed if beyond else f'repeated {how}'}")
    raise typer.Exit(int(bool(beyond)))


app.command("rm")(exchange.remove)
app.command()(exchange.prune)
app.command()(exchange.export)
app.command("import")(exchange.import_)
