"""A known state around each run, so that no method changes what comes after it, or is changed by what came before.

A method runs in this process, or in one that executes other runs too. Global settings that it may change in good faith
are restored when its run ends. Settings that decide numbers are set when it begins.
"""

from __future__ import annotations

import locale
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from zslbench import interruption
from zslbench.errors import RunError
from zslbench.training.device import random_state, set_random_state

CPU = torch.device("cpu")
KEEP = object()
"""Stands for a setting that begins as it is."""


def _environment(wanted: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(wanted)


def _filters(wanted: list[Any]) -> None:
    warnings.resetwarnings()  # tells the module that they changed
    warnings.filters[:] = wanted  # type: ignore[index]


def _precision(wanted: str) -> None:
    torch.set_float32_matmul_precision(wanted)


def _cudnn(wanted: tuple[bool, ...]) -> None:
    torch.backends.cudnn.enabled, torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = wanted


def _stream(name: str) -> tuple[str, Callable[[], Any], Callable[[Any], None], Any]:
    return f"sys.{name}", lambda: getattr(sys, name), lambda value: setattr(sys, name, value), KEEP


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


SETTINGS: tuple[tuple[str, Callable[[], Any], Callable[[Any], Any], Any], ...] = (
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (
        "torch's default device",
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device == CPU else device),
        CPU,
    ),
    ("torch's gradients", torch.is_grad_enabled, torch.set_grad_enabled, True),
    ("torch's check for anomalies", torch.is_anomaly_enabled, torch.set_anomaly_enabled, False),
    ("torch's precision of products", torch.get_float32_matmul_precision, _precision, "highest"),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads, KEEP),
    (
        "torch's deterministic algorithms",
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
        KEEP,
    ),
    (
        "cuDNN",
        lambda: tuple(getattr(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic")),
        _cudnn,
        KEEP,
    ),
    ("what NumPy does about overflow", np.geterr, lambda wanted: np.seterr(**wanted), KEEP),
    ("filters of warnings", lambda: list(warnings.filters), _filters, KEEP),
    (
        "what shows warnings",
        lambda: warnings.showwarning,
        lambda wanted: setattr(warnings, "showwarning", wanted),
        KEEP,
    ),
    ("the environment", lambda: dict(os.environ), _environment, KEEP),
    ("the working folder", os.getcwd, os.chdir, KEEP),
    ("the mask of file modes", _umask, os.umask, KEEP),
    (
        "the locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda wanted: locale.setlocale(locale.LC_ALL, wanted),
        KEEP,
    ),
    ("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit, KEEP),
    ("the path of modules", lambda: list(sys.path), lambda wanted: sys.path.__setitem__(slice(None), wanted), KEEP),
    _stream("stdin"),
    _stream("stdout"),
    _stream("stderr"),
)
"""What a run begins with: its name, how it is read and set, and its value at the beginning."""


@contextmanager
def known_state(seed: int) -> Iterator[None]:
    """Begins from a known state, with the random states of NumPy and Python seeded, and puts all back on leaving.

    Inside, standard input is empty. Covered are `SETTINGS`, the random states, handlers of signals, standard input,
    and the end of the process by `os._exit`; not what a method does to modules of others, nor threads that it leaves.
    Meant for the main thread: in any other one, standard input and handlers stay.
    """
    before = [(read(), set_) for _, read, set_, _ in SETTINGS]
    randomness = random_state(CPU)
    try:
        for _, read, set_, known in SETTINGS:
            if known is not KEEP and read() != known:
                set_(known)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        with _no_exit(), _own_handlers(), _no_input():
            yield
    finally:
        for (value, set_), (_, read, _, _) in zip(before, SETTINGS, strict=True):
            if _reads(read) != value:
                set_(value)
        set_random_state(randomness, CPU)


def _reads(read: Callable[[], Any]) -> Any:
    with suppress(OSError):  # the working folder may be gone
        return read()
    return None


@contextmanager
def contained() -> Iterator[None]:
    """Raises a RunError for what a method raises to end the process: `sys.exit()`, or a KeyboardInterrupt of its own.

    Where no command is interrupted by signals, a KeyboardInterrupt is a person's, and passes.
    """
    try:
        yield
    except (Exception, interruption.Interrupted):
        raise
    except BaseException as ending:
        if isinstance(ending, KeyboardInterrupt) and not interruption.installed():
            raise
        what = f"called sys.exit({ending.code!r})" if isinstance(ending, SystemExit) else f"raised {ending!r}"
        raise RunError(f"the method {what}, which would end the command; it should raise an error") from ending


@contextmanager
def _no_exit() -> Iterator[None]:
    process, leave = os.getpid(), os._exit

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:  # a process that the method forked
            leave(status)
        raise RunError(f"the method called os._exit({status}), which would end the command; it should raise an error")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = leave


@contextmanager
def _own_handlers() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)


@contextmanager
def _no_input() -> Iterator[None]:
    """Has whatever reads standard input find its end; a debugger's `breakpoint()` gets it back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    stdin, hook = sys.stdin, sys.breakpointhook
    try:
        kept = os.dup(0)
    except OSError:  # there is none
        kept = -1
    null = os.open(os.devnull, os.O_RDONLY)
    if null != 0:
        os.dup2(null, 0)
        os.close(null)

    def give_back() -> None:
        if kept >= 0:
            os.dup2(kept, 0)
        sys.stdin, sys.breakpointhook = stdin, hook

    def debug(*arguments: Any, **options: Any) -> Any:
        give_back()
        return hook(*arguments, **options)

    try:
        with Path(os.devnull).open() as empty:
            sys.stdin, sys.breakpointhook = empty, debug
            yield
    finally:
        give_back()
        if kept >= 0:
            os.close(kept)
        else:
            os.close(0)
