"""`zslbench paper`: the counterpart of every figure and table of a method's paper."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from zslbench.cli.options import RunOptions, with_options, words_of
from zslbench.cli.run import chosen_seeds
from zslbench.errors import UsageError, ZSLBenchError

if TYPE_CHECKING:
    from zslbench.api.cards import Exhibit, Input
    from zslbench.cli.session import Session
    from zslbench.report.exhibits import Made
    from zslbench.runs.plan import Row


@with_options(RunOptions)
def paper(
    method: Annotated[str, Argument(metavar="METHOD", help="NAME (`zslbench list methods`), whose card says what.")],
    options: RunOptions,
    out: Annotated[
        Path | None, Option(help="Folder for figures, tables and a page of them.", show_default="paper-METHOD")
    ] = None,
) -> None:
    """Make the figures and tables of a method's paper from run records; runs what is missing."""
    if options.on == "validation":
        raise UsageError("--on validation: papers show test images; `compare` shows validation classes")
    if options.metrics:
        raise UsageError("--metrics: tables of a paper have the metrics of the paper; `compare` takes any")
    seeds = chosen_seeds(options, 3)

    from zslbench.discovery.plugins import registry
    from zslbench.discovery.single_file import method_name

    name = method_name(method)
    card = registry().entry("method", name).card
    if not card.exhibits:
        raise UsageError(f"the card of method {name!r} declares no exhibits; see docs/guide/methods.md")
    folder = out or Path(f"paper-{name}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")

    from zslbench.cli.session import Session
    from zslbench.report.exhibits import write_index

    made: dict[str, Made] = {}
    problems: dict[str, ZSLBenchError] = {}
    sessions = []
    for given in dict.fromkeys(exhibit.input for exhibit in card.exhibits.values()):
        wanted = {key: exhibit for key, exhibit in card.exhibits.items() if exhibit.input == given}
        try:
            session = Session(_with_input(options, given), seeds)
        except _OtherInput as error:
            problems |= dict.fromkeys(wanted, error)
            continue
        with session:
            sessions.append(session)
            made |= _make(wanted, session, folder, problems)
    if not made:
        for session in sessions:
            session.finish()
        raise min(problems.values(), key=lambda error: isinstance(error, _OtherInput))
    left_out = {key: str(problems[key]) for key in card.exhibits if key in problems}
    command = ["zslbench", "paper", method, *words_of(options), *(["--out", str(out)] if out else [])]
    page = write_index(folder, card, shlex.join(command), made, left_out)
    if options.json:
        written = {key: [str(path) for path in made[key].files] for key in card.exhibits if key in made}
        print(json.dumps({"page": str(page), "made": written, "left_out": left_out}, indent=1))
    else:
        for key in card.exhibits:
            if key in made:
                print(f"{key}: {', '.join(map(str, made[key].files))}")
        print(f"page: {page}")
    for key, problem in left_out.items():
        sessions[0].display.say(f"{key} is left out: {problem}")
    for session in sessions:
        session.finish()


class _OtherInput(UsageError):
    """The command is of another input than an exhibit."""


def _with_input(options: RunOptions, given: Input | None) -> RunOptions:
    """Returns the options with an exhibit's input."""
    asked = options.input
    if given is None or given == asked:
        return options
    if asked is not None:
        raise _OtherInput(f"--input {asked}, and it is of {given}")
    return replace(options, input=given)


def _make(
    exhibits: dict[str, Exhibit], session: Session, folder: Path, problems: dict[str, ZSLBenchError]
) -> dict[str, Made]:
    """Runs what the exhibits need and makes them; one that cannot be made is added to the problems."""
    from zslbench.report.exhibits import make
    from zslbench.runs.plan import configurations

    possible = {}
    for name, exhibit in exhibits.items():
        try:
            configurations(list(exhibit.methods), session.datasets, session.request)
        except ZSLBenchError as error:
            problems[name] = error
        else:
            possible[name] = exhibit
    methods = list(dict.fromkeys(label for exhibit in possible.values() for label in exhibit.methods))
    rows = session.rows(methods) if methods else []
    made = {}
    for name, exhibit in possible.items():
        own = [row for source in session.datasets for row in _of(exhibit, source, rows)]
        try:
            made[name] = make(name, exhibit, own, session.store, session.datasets, session.request, folder)
        except ZSLBenchError as error:
            problems[name] = error
    return made


def _of(exhibit: Exhibit, source: str, rows: list[Row]) -> list[Row]:
    own = {row.label: row for row in rows if row.source == source}
    return [own[label] for label in exhibit.methods]
