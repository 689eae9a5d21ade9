"""`zslbench paper`: the counterpart of every figure and table of a method's paper."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from zslbench.cli.options import RunOptions, with_options, words_of
from zslbench.cli.run import chosen_seeds
from zslbench.errors import UsageError, ZSLBenchError

if TYPE_CHECKING:
    from zslbench.api.cards import Exhibit
    from zslbench.cli.session import Session
    from zslbench.report.exhibits import Made


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
    seeds = chosen_seeds(options, 3)

    from zslbench.discovery.plugins import registry
    from zslbench.discovery.single_file import method_name

    name = registry().method_for(method_name(method), options.input)
    card = registry().entry("method", name).card
    if not card.exhibits:
        raise UsageError(f"the card of method {name!r} declares no exhibits; see docs/guide/methods.md")
    folder = out or Path(f"paper-{name}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")

    from zslbench.cli.session import Session
    from zslbench.report.exhibits import write_index

    problems: dict[str, ZSLBenchError] = {}
    with Session(options, seeds) as session:
        made = _make(card.exhibits, session, folder, problems)
    if not made:
        session.finish()
        raise next(iter(problems.values()))
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
        session.display.say(f"{key} is left out: {problem}")
    session.finish()


def _make(
    exhibits: Mapping[str, Exhibit], session: Session, folder: Path, problems: dict[str, ZSLBenchError]
) -> dict[str, Made]:
    """Runs what the exhibits need and makes them; one that cannot be made is added to the problems."""
    from zslbench.report.exhibits import make
    from zslbench.runs.plan import configurations

    labels = {}
    for name, exhibit in exhibits.items():
        try:
            wanted = configurations(list(exhibit.methods), session.datasets, session.request)
        except ZSLBenchError as error:
            problems[name] = error
        else:
            labels[name] = [(configuration.variant.text, configuration.source) for configuration in wanted]
    methods = list(dict.fromkeys(label for own in labels.values() for label, _ in own))
    rows = {(row.label, row.source): row for row in session.rows(methods)} if methods else {}
    made = {}
    for name, own in labels.items():
        shown = [rows[key] for key in own]
        try:
            made[name] = make(name, exhibits[name], shown, session.store, session.datasets, session.request, folder)
        except ZSLBenchError as error:
            problems[name] = error
    return made
