"""`zslbench check`: whether methods, data sets and evaluators keep their promises."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Exit, Option

from zslbench.cli.options import DataRoot, Json, Plain
from zslbench.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from zslbench.testing import Verdict
    from zslbench.testing.subjects import Subject

STYLES = {"ok": "green", "failed": "bold red", "skipped": "dim"}


def check(
    names: Annotated[list[str] | None, Argument(help="Methods, data sets or evaluators.", metavar="NAME...")] = None,
    all_: Annotated[bool, Option("--all", help="Check everything that is installed.")] = False,
    data_root: DataRoot = None,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Check that plugins keep their promises; status 1 if one does not."""
    from rich.console import Console

    if bool(names) == all_:
        raise UsageError("name the methods, data sets or evaluators to check, or give --all")
    from zslbench.testing import registered, subjects, verdicts

    chosen = registered(data_root) if all_ else subjects(dict.fromkeys(names or ()), data_root)
    console = Console(no_color=plain)
    judged = []
    for subject in chosen:
        if json:
            found = verdicts(subject)
        else:
            with Console(stderr=True, quiet=plain).status(f"checking {subject.name}"):
                found = verdicts(subject)
            _print(subject, found, console)
        judged.append((subject, found))
    if json:
        print(jsonlib.dumps([_as_json(subject, found) for subject, found in judged], indent=1))
    if any(verdict.verdict == "failed" for _, found in judged for verdict in found):
        raise Exit(1)


def _print(subject: Subject[Any], found: list[Verdict], console: Console) -> None:
    """Prints a line for each check, unbroken, so that it can be searched; one for all that are skipped alike."""
    from rich.text import Text

    from zslbench.discovery.registry import NOUNS

    counts = {verdict: sum(one.verdict == verdict for one in found) for verdict in STYLES}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    console.print(Text(f"{NOUNS[subject.kind]} {subject.name}: {summary}", style="bold"), soft_wrap=True)
    width = max(len(verdict.check) for verdict in found)
    skipped: dict[str, list[str]] = {}
    for verdict in found:
        if verdict.verdict == "skipped":
            skipped.setdefault(verdict.reason, []).append(verdict.check)
            continue
        head = Text.assemble((f"{verdict.verdict:8}", STYLES[verdict.verdict]), f"{verdict.check:{width}}  ")
        told = Text(verdict.reason) if verdict.reason else Text(verdict.promise, style="dim")
        console.print(head + told, soft_wrap=True)
    for reason, checks in skipped.items():
        console.print(Text(f"skipped {', '.join(checks)}: {reason}", style="dim"), soft_wrap=True)
    console.print()


def _as_json(subject: Subject[Any], found: list[Verdict]) -> dict[str, Any]:
    checks = [{name: getattr(one, name) for name in ("check", "verdict", "reason", "promise")} for one in found]
    return {"kind": subject.kind, "name": subject.name, "checks": checks}
