"""`zslbench new`: an installable plugin of one's own, from templates."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option, echo


def new(
    kind: Annotated[Literal["method", "dataset", "evaluator"], Argument(help="What it is to be.")],
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
