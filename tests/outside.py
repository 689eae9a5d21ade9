"""The command line as a user meets it, and throw-away distributions on the path."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from textwrap import dedent

import forkserver
import pytest

import zslbench.cli

BUILT_IN = [
    "dap",
    "iap",
    "conse",
    "cmt",
    "cmt-star",
    "sse",
    "latem",
    "ale",
    "devise",
    "sje",
    "eszsl",
    "sync",
    "sae",
    "spaen",
]
"""The built-in methods on features, in the order of lists and tables."""
ON_IMAGES = ["directmap", "sae-image", "splitbranch", "spaen-image"]
"""Those on images; they follow in lists."""
CHEAP = ("--dataset", "digits", "--seeds", "1", "--device", "cpu")


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    status: int
    out: str
    err: str

    def error(self) -> str:
        """Returns standard error, which must be one line and must be all there is."""
        assert self.out == ""
        [line] = self.err.splitlines()
        return line.removeprefix("zslbench: ")


def command(*arguments: object, environment: dict[str, str] | None = None, path: Path | None = None) -> Answer:
    """Runs `zslbench ...` in a process of its own; `path` holds further distributions."""
    if not forkserver.can_obey(environment or {}, path):
        process = start(*arguments, environment=environment, path=path)
        out, err = process.communicate(timeout=240)
        return Answer(process.returncode, out, err)
    variables = _variables(environment, path)
    places = list(filter(None, [str(Path.cwd()), *variables.get("PYTHONPATH", "").split(os.pathsep), *_installed()]))
    with TemporaryFile() as out, TemporaryFile() as err, Path(os.devnull).open() as none:
        streams = none.fileno(), out.fileno(), err.fileno()
        status = forkserver.forked(forkserver.address(), [*map(str, arguments)], variables, places, streams)
        out.seek(0)
        err.seek(0)
        return Answer(status, out.read().decode(), err.read().decode())


@cache
def _installed() -> list[str]:
    """Returns the module path of an interpreter that nobody gave any."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = "import sys; print(*sys.path[1:], sep='\\n')"
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def _variables(environment: dict[str, str] | None, path: Path | None) -> dict[str, str]:
    """Returns the environment of a command."""
    extra = {"PYTHONPATH": os.pathsep.join(filter(None, [str(path), os.environ.get("PYTHONPATH")]))} if path else {}
    return {**os.environ, "COLUMNS": "80", **extra, **(environment or {})}


def start(
    *arguments: object, environment: dict[str, str] | None = None, path: Path | None = None, session: bool = False
) -> subprocess.Popen[str]:
    """Starts `zslbench ...` without waiting for it, in a group of processes of its own where it begins a session."""
    return subprocess.Popen(
        [sys.executable, "-m", "zslbench", *map(str, arguments)],
        env=_variables(environment, path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=session,
        preexec_fn=_with_signals if session else None,
    )


def on_terminal(width: int, *arguments: object) -> list[str]:
    """Returns the lines that `zslbench ...` prints on a terminal of a width, which is its standard output alone."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "dumb"}
    run = [sys.executable, "-m", "zslbench", *map(str, arguments)]
    process = subprocess.Popen(run, env=environment, stdout=its, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    os.close(its)
    parts = []
    with suppress(OSError):  # which is how Linux says that nobody holds the other end any more
        while part := os.read(ours, 65536):
            parts.append(part)
    os.close(ours)
    assert process.wait(timeout=240) == 0
    return re.sub("\x1b\\[[0-9;]*[A-Za-z]", "", b"".join(parts).decode()).replace("\r\n", "\n").splitlines()


def _with_signals() -> None:
    """A shell that started the tests in the background has Ctrl-C ignored, and `nohup` the end of the terminal."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@dataclass
class Inside:
    """Runs commands in this process, which spares the imports: for what a command answers, not what it costs."""

    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: object) -> Answer:
        self.capsys.readouterr()
        self.monkeypatch.setattr(sys, "argv", ["zslbench", *map(str, arguments)])
        self.monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # the command has its own
        with warnings.catch_warnings():  # the command prints its warnings, and must not change this process
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            with pytest.raises(SystemExit) as ending:
                zslbench.cli.main()
        out, err = self.capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Answer(ending.value.code, out, err)


def distribution(
    folder: Path, name: str, source: str, points: str = "plugin = {module}", requires: str = "zslbench"
) -> Path:
    """Writes a module and the metadata of a distribution that offers it as a plugin; returns the folder."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(dedent(source))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n")
    (info / "entry_points.txt").write_text(f"[zslbench]\n{points.format(module=module)}\n")
    return folder


def distribution_of_methods(folder: Path, name: str, source: str, classes: str) -> Path:
    """Makes a folder with a distribution `NAME-methods`, whose classes are in a module `NAME_classes`; returns it."""
    folder.mkdir()
    (folder / f"{name}_classes.py").write_text(classes)
    return distribution(folder, f"{name}-methods", source)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store that commands use where they name none; their data root is empty."""
    folder = tmp_path / "store"
    monkeypatch.setenv("ZSLBENCH_STORE", str(folder))
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs commands in the test's own process."""
    return Inside(monkeypatch, capsys)
