"""The command line; what is heavy is imported inside the commands."""

from __future__ import annotations

import os
import sys
import threading
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from zslbench import __version__, interruption
from zslbench.cli import build, check, data, explain, imports, listing, output, predict, report, run, runs, show, table
from zslbench.discovery.plugins import plugins
from zslbench.errors import Hint, ZSLBenchError, printable, thread_failed

app = typer.Typer(
    name="zslbench",
    help="An honest benchmark for zero-shot learning: one command trains, evaluates and compares methods.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (run.run, run.compare, run.tune, table.table, table.paper, run.evaluate, predict.predict):
    app.command()(command)
for command in (report.report, show.show, explain.explain, explain.measure, show.published):
    app.command()(command)
app.command("list")(listing.list_)
app.command()(listing.describe)
for command in (build.build, build.extract, build.images):
    data.app.command()(command)
data.app.command("import")(imports.import_)
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
for command in (check.new, check.check, check.doctor):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"zslbench {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main() -> NoReturn:
    """Runs the command line: errors are one line; status 2 for a wrong command, 1 for a failed run.

    Lets an interruption by a signal pass, which whoever handles signals tells.
    """
    output.prepare()
    warnings.showwarning, threading.excepthook = _show_warning, thread_failed
    _said.clear()
    plugins().notify("zslbench_commands", app=app)
    try:
        status = _together() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else app(standalone_mode=False)
        sys.stdout.flush()  # a full disk shows here at the latest
    except ZSLBenchError as error:
        if "--debug" in sys.argv:
            traceback.print_exc()
        _fail(str(error), error.exit_status)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        interruption.tell()
        sys.exit(interruption.status())
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("click", "typer") or not hasattr(error, "exit_code"):
            raise
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        told = getattr(getattr(error, "param", None), "help", None)
        if told and type(error).__name__ == "MissingParameter":
            message = f"{message.rstrip('.')}: {told}"
        _fail(message.replace("Value error, ", ""), error.exit_code)
    sys.exit(status or 0)


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    text = " ".join(str(message).split())
    if text not in _said:  # each worker that reads the data says the same of it
        _said.add(text)
        print(printable(text if issubclass(category, Hint) else f"warning: {text}"), file=sys.stderr)


_said: set[str] = set()


def _together() -> int | None:
    """Runs the command in the first of several processes that train together; the others do what that one says."""
    if os.environ.get("RANK", "0") != "0":
        from zslbench.runs.execute import follow

        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            follow()  # the first process speaks for all
        return None
    from zslbench.training import together

    with together.leading():
        status: int | None = app(standalone_mode=False)
    return status


def _fail(message: str, status: int) -> NoReturn:
    print(printable(f"zslbench: {' '.join(message.split())}"), file=sys.stderr)
    sys.exit(status)
