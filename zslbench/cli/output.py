"""Standard output and error as they are found: closed, full, or without the letters that tables have.

Standard output is for results, which the main thread prints. What anything else prints there goes to standard error:
another thread, a library that is not Python, another process.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zslbench.files import NotWritten

ESCAPED = "zslbench-escaped"
"""How letters are written that the encoding of the output lacks."""
PLAIN = {"±": "+-", "→": "->", "·": "-", "…": "...", "×": "x", "–": "-", "—": "-", "─": "-", "━": "-", "│": "|"}


class _Stream(io.TextIOWrapper):
    """A standard stream that fails in one line, once, or not at all: nobody can be told that standard error fails."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # what is still to come has nowhere to go
        if self.fileno() != 2:
            reason = f"cannot be written ({error.strerror}); what was run is stored"
            raise NotWritten(f"standard output: {reason}") from error


class _Results(_Stream):
    """Standard output, for the main thread alone."""

    def write(self, text: str) -> int:
        mine = threading.current_thread() is threading.main_thread()
        return super().write(text) if mine else sys.stderr.write(text)


@contextmanager
def starting() -> Iterator[None]:
    """Shows in a terminal that the command is alive while what it needs is imported, which takes seconds."""
    moving = sys.stderr is not None and sys.stderr.isatty()
    if moving:
        print("starting ...", end="\r", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if moving:
            print("\x1b[K", end="", file=sys.stderr, flush=True)


def prepare() -> None:
    """Makes standard streams safe to write to: closed ones lead nowhere, and no letter is a traceback.

    Where standard output is a file or a pipe, only Python's own stream leads there after that.
    """
    codecs.register_error(ESCAPED, _escaped)
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream: Any = getattr(sys, name)
        if stream is None:
            stream = io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8")
        if type(stream) is not io.TextIOWrapper:  # a notebook's, or a test's
            continue
        errors = ESCAPED if stream.errors in ("strict", "backslashreplace") else stream.errors
        how: dict[str, Any] = {"encoding": stream.encoding, "errors": errors, "line_buffering": stream.line_buffering}
        how["write_through"], binary = stream.write_through, stream.detach()
        setattr(sys, name, _Stream(binary, **how) if number == 2 else _Results(_moved(binary), **how))


def _moved(binary: Any) -> Any:
    """Returns a stream to standard output under another number, and has number 1 lead to standard error.

    A terminal shows both; it stays, since its width is asked for by that number.
    """
    if os.isatty(1):
        return binary
    moved = os.fdopen(os.dup(1), "wb", 0 if isinstance(binary, io.RawIOBase) else -1)
    os.dup2(2, 1)
    return moved


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(c, c.encode("ascii", "backslashreplace").decode()) for c in letters), error.end
