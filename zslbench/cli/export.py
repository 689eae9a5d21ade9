"""The formats of `compare` and `table`: one of them on standard output, and a file whose ending chooses its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from zslbench.cli.options import RunOptions
from zslbench.errors import UsageError
from zslbench.files import expanded, write_whole

if TYPE_CHECKING:
    from zslbench.report.results import Results

FLAGS = ("text", "markdown", "latex", "csv", "html", "json")
ExportOption = partial(Option, rich_help_panel="Formats")


@dataclass(frozen=True)
class ExportOptions(RunOptions):
    """Those of commands whose tables can be had in several formats, too."""

    text: Annotated[bool, ExportOption("--text", help="Plain text, with tests of which rows really differ.")] = False
    markdown: Annotated[bool, ExportOption("--markdown", help="The same in Markdown.")] = False
    latex: Annotated[bool, ExportOption("--latex", help="The same for the booktabs package.")] = False
    csv: Annotated[bool, ExportOption("--csv", help="All figures, one line a row.")] = False
    html: Annotated[bool, ExportOption("--html", help="The whole report: one page that needs no other file.")] = False
    columns: Annotated[
        str | None, ExportOption(help="Only these columns of the table, by their headings: 'h, ausuc, train s'.")
    ] = None
    out: Annotated[
        Path | None,
        ExportOption(help="Also write a file; its ending chooses: .html the report, .md, .tex, .csv, .json or .txt."),
    ] = None

    def format(self) -> str:
        """Returns the format that is wanted on standard output, empty where none is named.

        Raises:
            UsageError: two are named, or the file cannot be written in any.
        """
        from zslbench.report.render import format_of

        chosen = [name for name in FLAGS if getattr(self, name)]
        if len(chosen) > 1:
            raise UsageError(f"--{chosen[0]} and --{chosen[1]}: give one of them")
        if self.out is not None:
            format_of(expanded(self.out), "--out")
        return chosen[0] if chosen else ""

    def export(
        self, results: Results, command: list[str], json: Callable[[], str], show: Callable[[], None]
    ) -> Path | None:
        """Prints results in the format that was named, and writes the file; returns its path.

        Args:
            results: what came of the command.
            command: its words, which the report shows.
            json: makes the JSON of this command.
            show: prints the results where no format was named.
        """
        from zslbench.report.render import format_of

        line = shlex.join(
            ["zslbench", *command, *self.words(), *(["--out", str(self.out)] if self.out else ["--html"])]
        )

        def content(format: str) -> str:
            return (json() if format == "json" else results.text(format, command=line)).rstrip("\n")

        results.columns = self.columns.split(",") if self.columns else []
        if format := self.format():
            print(content(format))
        else:
            show()
        if self.out is None:
            return None
        path = expanded(self.out)
        write_whole(path, content(format_of(path)) + "\n")
        return path
