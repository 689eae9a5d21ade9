"""Signals: Ctrl-C, termination and hang-up end a command alike; training later continues from the last epoch shown.

Importing this changes nothing: the command line and its workers call `install`. After that, the first signal raises
`Interrupted` in the main thread, or waits while a block is `deferred`. A second signal, or the end of a grace period,
ends the process whatever its main thread does. A program that uses zslbench as a library keeps its own handlers. There
Ctrl-C raises KeyboardInterrupt as usual, and only waits while a block is deferred.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

MESSAGE = "interrupted; the same command goes on where this one stopped"
STATUS = {
    getattr(signal, name): status
    for name, status in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143))
    if hasattr(signal, name)
}
"""The exit status after each signal."""
GRACE = 9.0
"""Seconds that a command has to end after the first signal."""
PATIENCE = 8.0
"""Seconds of these that its workers have to write their checkpoints and end."""
SAME = 1.0
"""Seconds in which a further signal counts as the first one, sent to a process and to its group."""

_exit = os._exit


class Interrupted(BaseException):
    """A signal ends the command; no error, and no KeyboardInterrupt, which a method may raise itself."""


@dataclass
class _State:
    """What is known of signals in this process.

    Attributes:
        installed: whether the handlers are ours.
        first: the signal that came; 0 before.
        raised: whether it was raised in the main thread.
        depth: how many deferred blocks the main thread is in.
        leaving: whether the command is done.
        quiet: whether another process tells that it was interrupted.
        at_end: what ends other processes, should this one end at once.
    """

    installed: bool = False
    first: int = 0
    raised: bool = False
    depth: int = 0
    leaving: bool = False
    quiet: bool = False
    at_end: list[Callable[[], None]] = field(default_factory=list)


_state = _State()


def install(grace: float = GRACE, *, worker: bool = False) -> None:
    """Has signals end this process, from its main thread; what is ignored already, as below `nohup`, stays so.

    A worker says nothing, and further signals do not hurry it: the process that started it kills it.
    """
    if _state.installed:
        return
    _state.installed, _state.quiet = True, worker
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(reader, grace, worker), daemon=True).start()
    take()


def take() -> None:
    """Takes the signals back from a library that handles them itself, if they were ours."""
    if _state.installed:
        for number in STATUS:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, _received)


def leave() -> None:
    """Has a signal end the process at once, because what is left to do is to end."""
    _state.leaving = True


def installed() -> bool:
    """Whether signals end this process, so that a KeyboardInterrupt is no Ctrl-C."""
    return _state.installed


def asked() -> bool:
    """Whether a signal came that was not obeyed yet."""
    return _state.first != 0


def obey() -> NoReturn:
    """Raises what a signal means here: Interrupted in a command, KeyboardInterrupt in any other program."""
    _state.raised = True
    raise Interrupted if _state.installed else KeyboardInterrupt


def check() -> None:
    """Obeys a signal that came, even where some method caught and dropped it."""
    if asked():
        obey()


@contextmanager
def deferred() -> Iterator[None]:
    """Has signals wait until the end of the block, which should ask for them now and then; blocks may be nested."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = not _state.installed and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if own:
        signal.signal(signal.SIGINT, _noted)
    _state.depth += 1
    try:
        yield
    finally:
        _state.depth -= 1
        came = _state.first
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _state.first = 0
        if came and not _state.depth and not isinstance(sys.exc_info()[1], Interrupted | KeyboardInterrupt):
            obey()


def at_end(end: Callable[[], None]) -> None:
    """Has `end` called should this process end at once; it must end the processes that this one started."""
    if end not in _state.at_end:
        _state.at_end.append(end)


def status() -> int:
    """Returns the exit status that the signal asks for."""
    return STATUS.get(_state.first, 130)


def tell() -> None:
    """Says in one line, once, that the command was interrupted."""
    if not _state.quiet:
        _state.quiet = True
        clear = "\r\x1b[K\x1b[?25h" if os.isatty(2) else ""  # what is left of a moving bar
        with suppress(OSError):
            os.write(2, f"{clear}zslbench: {MESSAGE}\n".encode())


def _received(number: int, frame: FrameType | None) -> None:
    _state.first = _state.first or number
    if _state.raised or _state.depth:
        return
    if _state.leaving or _importing(frame):  # raised there, it would come out as another error
        _end()
    obey()


def _noted(number: int, frame: FrameType | None) -> None:
    """Has a first Ctrl-C wait; a second one does not."""
    if _state.first:
        raise KeyboardInterrupt
    _state.first = number


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _watch(reader: int, grace: float, worker: bool) -> None:
    """Waits for the first signal, then for the end of the grace or a second signal, and ends the process.

    The main thread may be in the middle of a long computation, or in a method that lets no interruption through.
    """
    while (number := os.read(reader, 1)[0]) not in STATUS:
        pass
    _state.first = _state.first or number
    began = time.monotonic()
    while (passed := time.monotonic() - began) < grace:
        if select.select([reader], [], [], grace - passed)[0]:
            again = os.read(reader, 1)[0] in STATUS
            if again and not worker and time.monotonic() - began > SAME:
                break
    _end()


def _end() -> NoReturn:
    tell()
    for end in _state.at_end:
        with suppress(Exception):
            end()
    _exit(status())


def _forget() -> None:
    """Leaves signals to their default in a forked process, whose bytes must not reach this one's watch."""
    global _state
    signal.set_wakeup_fd(-1)
    for number in STATUS:
        if signal.getsignal(number) is _received:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _state = _State()
