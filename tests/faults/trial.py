"""One mutation: a fresh copy of the good files, one of them damaged, and a process of its own that uses them."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch

from zslbench.errors import ZSLBenchError

from .damage import damaged
from .kinds import Answer, Kind

Verdict = Literal[
    "same", "made again", "clean error", "other valid file", "WRONG NUMBER", "TRACEBACK", "SIGNAL", "MEMORY", "HANG"
]
GOOD: tuple[Verdict, ...] = ("same", "made again", "clean error", "other valid file")
BAD: tuple[Verdict, ...] = ("WRONG NUMBER", "TRACEBACK", "SIGNAL", "MEMORY", "HANG")
GIGABYTE, SAFETY = 2**30, 16 * 2**30
"""What a damaged file may cost in memory or on disk; and where this stops the process, to spare the machine."""
SECONDS = 60
_OPEN = open  # tests put others in its place
elsewhere: Callable[..., Outcome] | None = None
"""Has another process fork, where this one has threads."""


@dataclass
class Outcome:
    """How a process ended: with an answer, an error, or otherwise."""

    answer: Any = None
    error: str = ""
    clean: bool = False
    said: list[str] = field(default_factory=list)
    exit: int = 0
    hung: bool = False
    bytes: int = 0


@dataclass
class Case:
    """One mutation and what came of it."""

    kind: str
    index: int
    what: str
    verdict: Verdict
    detail: str = ""


class Trials:
    """The mutations of one kind, in a folder of their own."""

    def __init__(self, kind: Kind, folder: Path, seed: int) -> None:
        self.kind, self.seed = kind, seed
        self.work, self.base = folder / "work", folder / "base"
        self.work.mkdir(parents=True)
        made = self._in_child(kind.make)  # nothing that it loads or starts may stay in this process
        assert made.exit == 0 and not made.error, f"{kind.name}: cannot be prepared: {made.error}"
        shutil.copytree(self.work, self.base)
        self.stats = {str(path): path.stat() for path in self.work.rglob("*")}
        self.sound = self._in_child(kind.act)
        assert not self.sound.error, f"{kind.name}: the undamaged files fail: {self.sound.error}"
        assert self.sound.exit == 0, f"{kind.name}: the undamaged files end the process: {self.sound}"
        self.content = self._read(kind.content)
        self.afresh = self._afresh() if kind.loses else self.sound
        if kind.says is not None:
            told = self._read(kind.says)
            assert told.answer == self.sound.answer, f"{kind.name}: {told} is not {self.sound}"

    def run(self, index: int) -> Case:
        """Makes one mutation; the same index damages the same bytes again."""
        shutil.rmtree(self.work)
        shutil.copytree(self.base, self.work)
        random = Random(f"{self.seed} {self.kind.name} {index}")
        target = random.choice(self.kind.targets(self.work))
        before = target.read_bytes()
        as_json = self.kind.as_json or target.suffix == ".json"
        what, content = damaged(before, random, as_json)
        target.write_bytes(content)
        kept = self.stats if self.kind.rot and len(content) == len(before) else {}
        outcome = self._in_child(self.kind.act, kept)
        verdict, detail = self._judge(outcome, target, content)
        return Case(self.kind.name, index, f"{target.relative_to(self.work)}: {what}", verdict, detail)

    def _afresh(self) -> Outcome:
        for lost in (self.work / self.kind.loses).iterdir():
            shutil.rmtree(lost)
        afresh = self._in_child(self.kind.act)
        assert not afresh.error, f"{self.kind.name}: made afresh it fails: {afresh.error}"
        return afresh

    def _judge(self, outcome: Outcome, target: Path, content: bytes) -> tuple[Verdict, str]:
        if outcome.hung:
            return "HANG", f"longer than {SECONDS} s"
        if outcome.bytes > GIGABYTE:
            return "MEMORY", f"{outcome.bytes / GIGABYTE:.1f} GB"
        if outcome.exit < 0:
            return "SIGNAL", signal.Signals(-outcome.exit).name
        if outcome.error:
            return ("clean error" if outcome.clean else "TRACEBACK"), outcome.error
        if outcome.exit > 0:
            return "TRACEBACK", f"the process ended itself with status {outcome.exit}"
        same = _agree(outcome.answer, self.sound.answer, self.afresh.answer)
        if self.kind.says is None and self.kind.content is None:
            if not same:
                return "WRONG NUMBER", _difference(outcome.answer, self.sound.answer)
            again = outcome.said != self.sound.said or not target.exists() or target.read_bytes() != content
            return ("made again" if again else "same"), ""
        target.parent.mkdir(parents=True, exist_ok=True)
        return self._judge_source(outcome, same)

    def _judge_source(self, outcome: Outcome, same: bool) -> tuple[Verdict, str]:
        """Judges what came of a file without a checksum by what an independent reader finds in it."""
        if self.kind.says is not None:
            told = self._read(self.kind.says)
            if told.error or told.exit:
                return ("same", "") if same else ("WRONG NUMBER", f"no other reader can read it: {told.error}")
            if outcome.answer == told.answer:
                return ("same" if same else "other valid file"), ""
            return "WRONG NUMBER", "not what the file says: " + _difference(outcome.answer, told.answer)
        if same:
            return "same", ""
        found = self._read(self.kind.content)
        if found.error or found.exit or found.answer == self.content.answer:
            return "WRONG NUMBER", f"though an independent reader finds {found.error or 'what was there'}"
        return "other valid file", ""

    def _read(self, reader: Callable[[Path], Any] | None) -> Outcome:
        return Outcome() if reader is None else self._in_child(reader)

    def _in_child(self, work: Callable[[Path], object], stats: dict[str, os.stat_result] | None = None) -> Outcome:
        return outcome_of(work, self.work, partial(_keep_stamps, stats) if stats else None)


def outcome_of(
    work: Callable[[Path], object], folder: Path, prepare: Callable[[], object] | None = None, seconds: float = SECONDS
) -> Outcome:
    """Does some work in a folder, in a process of its own, and returns how it ended; `prepare` is done there before."""
    if elsewhere is not None:
        return elsewhere(work, folder, prepare, seconds)
    told, result = folder.with_name(f"{folder.name}.json"), Outcome()
    told.unlink(missing_ok=True)
    sys.stdout.flush()
    gc.freeze()  # which spares copies of pages
    child = os.fork()
    if child == 0:
        try:
            _be_used(work, folder, told, prepare)
        finally:
            os._exit(99)
    until = time.monotonic() + seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome(hung=True)
        time.sleep(0.002)
    if told.exists():
        result = Outcome(**json.loads(told.read_text()))
    result.exit = os.waitstatus_to_exitcode(ended[1])
    return result


def _be_used(work: Callable[[Path], object], folder: Path, told: Path, prepare: Callable[[], object] | None) -> None:
    """Does the work in a child, writes down what came of it, and ends."""
    os.setpgid(0, 0)
    torch.set_num_threads(1)  # makes torch's pool again after the fork, before threads that decode would at once
    os.environ.update({f"ZSLBENCH_{part.upper()}": str(folder / part) for part in ("cache", "store", "data")})
    os.chdir(folder)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    size = _kilobytes("VmSize") * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size + SAFETY, size + SAFETY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * GIGABYTE, 2 * GIGABYTE))
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    if prepare is not None:
        prepare()
    outcome = Outcome()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            outcome.answer = work(folder)
        except ZSLBenchError as error:
            outcome.error = f"{type(error).__name__}: {error}"
            outcome.clean = len(str(error).splitlines()) == 1
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = next((frame for frame in reversed(frames) if "/zslbench/" in frame.filename), frames[-1])
            outcome.error = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
    outcome.said = sorted({str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)})
    grown = max(_kilobytes("VmPeak") * 1024 - size, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    outcome.bytes = max(grown, on_disk)
    with _OPEN(told, "w") as file:
        file.write(json.dumps(vars(outcome), default=str))
    os._exit(0)


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _keep_stamps(stats: dict[str, os.stat_result]) -> None:
    """Lets files have the time stamps and numbers that they had, as rot below the file system leaves them."""
    real = os.stat

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        found = real(path, *arguments, **options)
        kept = stats.get(os.fspath(path)) if not isinstance(path, int) else None
        return kept if kept is not None and kept.st_size == found.st_size else found

    os.stat = stat  # type: ignore[assignment]


def _agree(answer: Any, sound: Any, afresh: Any) -> bool:
    """Whether each part of an answer is sound or made afresh; stored things may be missing from what is listed."""
    if not isinstance(answer, dict) or answer.keys() != sound.keys():
        return bool(answer == sound)
    listed = [json.dumps(one, sort_keys=True) for one in sound.get("stored", [])]
    if any(json.dumps(one, sort_keys=True) not in listed for one in answer.get("stored", [])):
        return False
    return all(
        name == "stored"
        or json.dumps(part, sort_keys=True) in [json.dumps(o[name], sort_keys=True) for o in (sound, afresh)]
        for name, part in answer.items()
    )


def _difference(answer: Answer, sound: Answer) -> str:
    for name in sorted({*answer, *sound}):
        if answer.get(name) != sound.get(name):
            one, other = answer.get(name), sound.get(name)
            if isinstance(one, dict) and isinstance(other, dict):
                return f"{name}: {_difference(one, other)}"
            return f"{name}: {one!r:.80} is not {other!r:.80}"
    return ""
