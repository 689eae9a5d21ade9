"""`zslbench show` and `published`: stored runs, and what papers printed."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_STORE, Json, Plain, StoreFolder
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import NOUNS
from zslbench.errors import UsageError, near_misses
from zslbench.files import NotWritten, in_folder, write_whole


def show(
    run: Annotated[str, Argument(help="Run id, or its first characters (`zslbench runs`).")],
    store: StoreFolder = DEFAULT_STORE,
    curve: Annotated[Path | None, Option(help="Write the seen-unseen curve to this CSV file.")] = None,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Show a stored run: settings, metrics with intervals, curve, classes, provenance."""
    from zslbench.bench import Bench

    result = Bench(store=store).record(run)
    if curve is not None:
        points = result.curve().rename(columns={"gamma": "gamma_from"})
        points.insert(1, "gamma_to", points["gamma_from"].shift(-1, fill_value=float("inf")))
        try:
            write_whole(in_folder("--curve", curve), points.to_csv(index=False))
        except NotWritten as error:
            raise UsageError(f"--curve {error}") from error
    if json:
        print(jsonlib.dumps(result.record.model_dump(mode="json"), indent=1))
    else:
        result.show(plain=plain)


def published(
    method: Annotated[
        list[str] | None, Option("--method", "-m", help="A method's name, or its title in papers; repeat it for more.")
    ] = None,
    dataset: Annotated[
        list[str] | None,
        Option("--dataset", "-d", help="Name of a data set, or its title in papers; repeat for more."),
    ] = None,
    lint: Annotated[
        bool, Option("--lint", help="Only numbers that contradict each other: H that is not 2US/(U+S).")
    ] = False,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Show published numbers as printed, with their sources; --lint those that contradict each other."""
    from zslbench.report.published import as_json, group_tables, groups_of, lint_table, usable_numbers
    from zslbench.report.terminal import print_tables

    numbers = usable_numbers()
    methods = _titles("method", method, (number.method for number in numbers))
    datasets = _titles("dataset", dataset, (number.dataset for number in numbers))
    groups = [g for g in groups_of(numbers) if g.method in methods and g.dataset in datasets]
    groups.sort(key=lambda g: [text.casefold() for text in (g.method, g.dataset, g.source, g.split)])
    if json:
        print(jsonlib.dumps(as_json(group for group in groups if group.difference or not lint), indent=1))
    elif not groups:
        print("no published number of these methods on these data sets")
    else:
        print_tables([lint_table(groups)] if lint else group_tables(groups), plain=plain)


def _titles(kind: str, wanted: list[str] | None, printed: Iterable[str]) -> set[str]:
    """Returns the titles that are meant: all printed ones, or those of the names or titles given, in any case.

    Raises:
        UsageError: nothing is registered or printed under a name; near misses are suggested.
    """
    from zslbench.report.published import printed_as

    titles = set(printed)
    if not wanted:
        return titles
    entries = list(registry().entries(kind))
    chosen = set()
    for text in wanted:
        meant = {printed_as(entry) for entry in entries if entry.goes_by(text)}
        meant |= {title for title in titles if title.casefold() == text.casefold()}
        if not meant:
            known = {entry.name for entry in entries} | (titles - {entry.title for entry in entries})
            near = near_misses(text, known, {entry.title: entry.name for entry in entries})
            raise UsageError(f"unknown {NOUNS[kind]} {text!r}{near}")
        chosen |= meant
    return chosen
