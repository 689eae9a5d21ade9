"""Pages of documentation as scripts: their files are written, their commands run, what they show is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import forkserver

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
SHOWN_ONLY = ("text",)
"""Blocks that show a form, not a file: nothing can be executed in them."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: a file if it has a title, a session in a terminal, or something to look at."""

    page: str
    language: str
    title: str
    text: str

    @property
    def session(self) -> Iterator[tuple[str, list[str]]]:
        """Each command, and the lines that are shown below it."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            yield command, [line for line in shown if line.strip()]


def blocks(path: Path) -> list[Block]:
    """Returns the fenced blocks of a page in their order; every fence must be one that is understood here."""
    text = path.read_text(encoding="utf-8")
    found = [Block(path.name, *match.groups(default="")) for match in BLOCK.finditer(text)]
    assert 2 * len(found) == len(re.findall("^```", text, re.MULTILINE)), f"{path}: a fence without a partner"
    for block in found:
        assert block.title or block.language in ("console", *SHOWN_ONLY), f"{path}: {block.language} that no test runs"
    return found


def environment(folder: Path) -> dict[str, str]:
    """Makes a virtual environment on top of this one, where pip needs no network; returns its variables."""
    venv.create(folder, with_pip=False, symlinks=True)  # pip comes from below
    python = folder / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    below = sysconfig.get_path("purelib")
    Path(own.stdout.strip(), "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
    client = forkserver.CLIENT.format(python=python, address=forkserver.address())
    for name, text in {"zslbench": client, "pip": f'#!/bin/sh\nexec "{python}" -m pip "$@"\n'}.items():
        script = folder / "bin" / name
        script.write_text(text)
        script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads this variable the other way round: it means no isolation
        "PIP_QUIET": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
    }


def perform(page: list[Block], folder: Path, variables: dict[str, str]) -> None:
    """Writes the files of a page and executes its commands, in order.

    A command must succeed unless what is shown below it says that something failed.
    """
    for block in page:
        if block.title:
            path = folder / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            for command, shown in block.session:
                done = subprocess.run(
                    command, shell=True, cwd=folder, env=variables, capture_output=True, text=True, timeout=240
                )
                may_fail = any("failed" in line or line.startswith("zslbench: ") for line in shown)
                said = f"{block.page}: $ {command}\n{done.stdout}{done.stderr}"
                assert done.returncode == 0 or may_fail, said
                missing = absent(shown, (done.stdout + done.stderr).splitlines())
                assert not missing, f"{said}\nnot there, in this order: {missing}"


def absent(shown: list[str], lines: list[str]) -> str:
    """Returns the first shown line that was not printed, in order and whatever its numbers; empty if all were."""
    rest = iter(lines)
    for line in shown:
        if line.strip() != "..." and not any(shape(line) == shape(other) for other in rest):
            return line
    return ""


def shape(line: str) -> str:
    """Returns a line without its numbers, rules and spacing, which differ between machines."""
    return " ".join(re.sub(r"-{3,}", "", re.sub(r"[-+]?\d+(\.\d+)?(e-?\d+)?", "#", line)).split())
