"""Verdicts: the result of a check, and the order in which checks run."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from zslbench.errors import ZSLBenchError, one_line
from zslbench.training.device import seeded

if TYPE_CHECKING:
    from zslbench.testing.subjects import Subject

Check = Callable[[Any], None]
"""A function of a subject, named `check_...`; its docstring is the promise that it protects, in one line."""
C = TypeVar("C", bound=Check)

_EARLIER: dict[Check, tuple[Check, ...]] = {}


class CheckFailed(AssertionError):
    """A promise is broken: what, where, and what to do."""


class Skip(Exception):
    """A check does not apply here, or cannot be made; says why."""


@dataclass(frozen=True)
class Verdict:
    """What came of one check.

    Attributes:
        check: its name, without `check_`.
        promise: what it protects, in one line.
        verdict: `ok`, `failed`, or `skipped` where it does not apply or cannot be made.
        reason: why, in one line; empty for `ok`.
        error: what was raised.
    """

    check: str
    promise: str
    verdict: Literal["ok", "failed", "skipped"]
    reason: str = ""
    error: BaseException | None = field(default=None, repr=False, compare=False)


def after(*earlier: Check) -> Callable[[C], C]:
    """Declares that a check is skipped where one of the earlier ones fails: it would only say the same again."""

    def declare(check: C) -> C:
        _EARLIER[check] = tuple(dict.fromkeys(one for last in earlier for one in (*_EARLIER.get(last, ()), last)))
        return check

    return declare


def name_of(check: Check) -> str:
    """Returns a check's name as printed."""
    return check.__name__.removeprefix("check_")


def promise_of(check: Check) -> str:
    """Returns the promise that a check protects, in one line."""
    return (check.__doc__ or "").strip().splitlines()[0]


def judge(check: Check, subject: Subject[Any]) -> Verdict:
    """Makes a check, and before it those it comes after; each once for a subject, and as runs are: on one thread."""
    if check not in subject.verdicts:
        failed = [one for one in _EARLIER.get(check, ()) if judge(one, subject).verdict == "failed"]
        verdict = partial(Verdict, name_of(check), promise_of(check))
        try:
            if failed:
                raise Skip(f"{name_of(failed[0])} must pass first")
            with seeded(0, torch.device("cpu")):
                check(subject)
            subject.verdicts[check] = verdict("ok")
        except Skip as reason:
            subject.verdicts[check] = verdict("skipped", str(reason), reason)
        except Exception as error:
            subject.verdicts[check] = verdict("failed", _told(error), error)
    return subject.verdicts[check]


def _told(error: Exception) -> str:
    """Returns what was raised in one line, and where if it is none of our own messages."""
    if isinstance(error, CheckFailed | ZSLBenchError):
        return " ".join(str(error).split())
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"it raised {one_line(error)} ({Path(last.filename).name}, line {last.lineno})"
