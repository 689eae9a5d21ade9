"""`zslbench check`, `doctor` and `new`: whether plugins and the installation are sound, and a plugin of one's own."""

from __future__ import annotations

import json as jsonlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Exit, Option, echo

from zslbench.cli.options import DEFAULT_STORE, DataRoot, Json, Plain, StoreFolder
from zslbench.errors import UsageError, printable

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
    console.print(Text(printable(f"{NOUNS[subject.kind]} {subject.name}: {summary}"), style="bold"), soft_wrap=True)
    width = max(len(verdict.check) for verdict in found)
    skipped: dict[str, list[str]] = {}
    for verdict in found:
        if verdict.verdict == "skipped":
            skipped.setdefault(verdict.reason, []).append(verdict.check)
            continue
        head = Text.assemble((f"{verdict.verdict:8}", STYLES[verdict.verdict]), f"{verdict.check:{width}}  ")
        told = Text(printable(verdict.reason)) if verdict.reason else Text(verdict.promise, style="dim")
        console.print(head + told, soft_wrap=True)
    for reason, checks in skipped.items():
        console.print(Text(printable(f"skipped {', '.join(checks)}: {reason}"), style="dim"), soft_wrap=True)
    console.print()


def _as_json(subject: Subject[Any], found: list[Verdict]) -> dict[str, Any]:
    checks = [{name: getattr(one, name) for name in ("check", "verdict", "reason", "promise")} for one in found]
    return {"kind": subject.kind, "name": subject.name, "checks": checks}


SIGNS = {True: ("ok  ", "green"), False: ("FAIL", "bold red"), None: ("info", "dim")}


def doctor(data_root: DataRoot = None, store: StoreFolder = DEFAULT_STORE) -> None:
    """Check packages, devices, plugins, data and store; status 1 if something is wrong."""
    from rich.console import Console
    from rich.text import Text

    from zslbench.report.health import checks

    console = Console(soft_wrap=True, highlight=False)
    sound = True
    for name, good, detail in checks(data_root, store):
        console.print(Text.assemble(SIGNS[good], printable(f" {name}: {detail}")))
        sound = sound and good is not False
    if not sound:
        raise Exit(1)


def new(
    kind: Annotated[Literal["method", "dataset", "evaluator"], Argument(help="What kind of plugin to write.")],
    name: Annotated[str, Argument(help="Its name in commands: lower-case letters, digits and single hyphens.")],
    into: Annotated[Path, Option(help="Folder to write it into.", show_default="here")] = Path(),
) -> None:
    """Write an installable plugin with a working example, tests and CI; nothing is overwritten."""
    from zslbench.scaffold.new import create

    folder = create(kind, name, into)
    echo(f"{folder}:")
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        echo(f"  {path.relative_to(folder)}")
    use = f"zslbench compare spaen sae --dataset {name}" if kind == "dataset" else "zslbench compare spaen sae"
    echo(f"next:\n  pip install -e {shlex.quote(str(folder))}\n  zslbench check {name}")
    echo(f"  {f'zslbench compare {name} spaen' if kind == 'method' else use}")
