"""Damaged MATLAB files by the thousand: what reading them comes to.

    python tests/matmutation.py --count 1000 [KIND ...]

A kind is a format and what the file holds, such as `v5-features`. Each damaged file is read as the harness reads it, by
`zslbench.data.matchild` under its limits, in a process of its own, which is forked because that costs milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from synthetic import Files, toy_files, write_v5, write_v73

from zslbench.data import matchild
from zslbench.errors import DataError

SECTOR, SECONDS = 512, 20


def write_v73_in_pieces(path: Path, content: dict[str, Any]) -> None:
    """Writes as MATLAB does: matrices of some size in compressed pieces."""
    write_v73(path, content)
    with h5py.File(path, "r+") as file:
        for name, value in content.items():
            if not isinstance(value, list) and value.size > 100:
                del file[name]
                file.create_dataset(name, data=value.T, chunks=(8, min(6, value.shape[0])), compression="gzip")
                file[name].attrs["MATLAB_class"] = np.bytes_("double")


def write_v5_plain(path: Path, content: dict[str, Any]) -> None:
    write_v5(path, content, compress=False)


WRITERS = {"v5": write_v5_plain, "v5z": write_v5, "v73": write_v73, "v73z": write_v73_in_pieces}
PARTS = {"features": "res101", "split": "att_splits"}
KINDS = [f"{version}-{part}" for version in WRITERS for part in PARTS]


def write_kind(kind: str, path: Path) -> None:
    """Writes the sound file of a kind."""
    version, part = kind.split("-")
    content: Files = toy_files(images=6)
    WRITERS[version](path, content[PARTS[part]])


def mutated(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """Returns content damaged as disks and downloads do it, and how: one bit, the end, a sector, two blocks."""
    how = chance.choice(["bit", "bit", "bit", "cut", "zeros", "swap"])
    damaged, place = bytearray(content), chance.randrange(len(content))
    if how == "bit":
        near = chance.choice([len(content), 512, 4096])  # heads are short, and what counts
        damaged[place % near] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del damaged[place:]
    else:
        size = chance.choice([8, 64, SECTOR])
        one, other = (start - start % size for start in (place, chance.randrange(len(content))))
        if how == "zeros":
            damaged[one : one + size] = bytes(len(damaged[one : one + size]))
        elif max(one, other) + size <= len(content):
            damaged[one : one + size], damaged[other : other + size] = content[other:][:size], content[one:][:size]
    return how, bytes(damaged)


def contents(folder: Path, answer: dict[str, Any]) -> dict[str, Any]:
    """Returns what was read of a file, by the names of its variables."""
    found: dict[str, Any] = {}
    for name, variable in answer["variables"].items():
        if "file" in variable:
            content = (folder / variable["file"]).read_bytes()
            found[name] = (variable["file"][-4:], content)
        else:
            found[name] = variable["why"]
    return found


def read_in_fork(path: Path, folder: Path) -> tuple[str, Any]:
    """Reads a file as `matchild` does: ("read", what it holds), ("error", the line), or ("crash", the signal)."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        matchild.limit_memory(matchild.BASE_BYTES)
        try:
            answer: dict[str, Any] = matchild.read(path, folder)
        except DataError as error:
            answer = {"error": str(error)}
        except BaseException as error:
            answer = {"leak": f"{type(error).__name__}: {error}"}
        (folder / "answer").write_text(json.dumps(answer))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "crash", os.WTERMSIG(status)
    answer = json.loads((folder / "answer").read_text())
    if "leak" in answer:
        return "leak", answer["leak"]
    return ("error", answer["error"]) if "error" in answer else ("read", contents(folder, answer))


def outcomes(
    kind: str, count: int, seed: int, folder: Path, told: Callable[[str, str, str], None] = lambda *_: None
) -> Counter[tuple[str, str]]:
    """Returns how often each damage had each outcome: same, other values, variables lost, error, crash, leak."""
    sound, path, chance = folder / "sound.mat", folder / "damaged.mat", random.Random(f"{kind} {seed}")
    write_kind(kind, sound)
    _, expected = read_in_fork(sound, folder / "sound")
    found: Counter[tuple[str, str]] = Counter()
    for _ in range(count):
        how, content = mutated(sound.read_bytes(), chance)
        path.write_bytes(content)
        outcome, result = read_in_fork(path, folder / "damaged")
        if outcome == "read":
            lost = expected.keys() - {name for name, value in result.items() if isinstance(value, tuple)}
            outcome = "same" if result == expected else "lost" if lost else "other"
            detail = ", ".join(sorted(lost)) or ", ".join(
                name for name in result if result[name] != expected.get(name, "new")
            )
        else:
            detail = str(result).replace(str(path), "FILE")
        found[how, outcome] += 1
        told(how, outcome, detail)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=KINDS)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for kind in options.kinds:
        details: Counter[str] = Counter()

        def told(how: str, outcome: str, detail: str, details: Counter[str] = details) -> None:
            details[f"{outcome}: {how}: {detail[:150]}"] += outcome != "same"

        with tempfile.TemporaryDirectory() as folder:
            found = outcomes(kind, options.count, options.seed, Path(folder), told)
        for (how, outcome), times in sorted(found.items()):
            print(kind, how, outcome, times, flush=True)
        for detail, times in details.most_common(14):
            print("   ", times, detail)
    print("most memory of a reading process:", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MB")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
