"""`zslbench doctor`: is this installation sound, and what can it use?"""

from __future__ import annotations

from typer import Exit

from zslbench.cli.options import DEFAULT_STORE, DataRoot, StoreFolder

SIGNS = {True: "ok  ", False: "FAIL", None: "info"}
STYLES = {True: "green", False: "bold red", None: "dim"}


def doctor(data_root: DataRoot = None, store: StoreFolder = DEFAULT_STORE) -> None:
    """Check packages, devices, plugins, data and store; status 1 if something is wrong."""
    from rich.console import Console
    from rich.text import Text

    from zslbench.report.health import checks

    console = Console(soft_wrap=True, highlight=False)
    sound = True
    for name, good, detail in checks(data_root, store):
        console.print(Text.assemble((SIGNS[good], STYLES[good]), f" {name}: {detail}"))
        sound = sound and good is not False
    if not sound:
        raise Exit(1)
