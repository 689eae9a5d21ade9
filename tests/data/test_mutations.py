"""Damaged files of every kind that is read: the same result, another one where a format has no checksum, or one error.

`python tests/data/test_mutations.py --count N` runs thousands of one kind or of all, and counts what came of them.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import resource
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch

from zslbench import ZSLData
from zslbench.data.scorefile import read_scores
from zslbench.data.semantics import with_semantics
from zslbench.errors import DataError, UsageError
from zslbench.preparation.attributes import read_attributes
from zslbench.preparation.semantics import read_templates, read_texts
from zslbench.preparation.splits import read_roles
from zslbench.preparation.word_vectors import from_word_vectors

NAMES = ("001.Black_footed_Albatross", "grizzly+bear", "café", "zebra", "otter", "seal", "bat")
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.normal(size=(30, len(NAMES))).astype(np.float32)
IMAGES = RANDOM.permutation(60)[:30] + 1
ROWS = RANDOM.random((len(NAMES), 5)).astype(np.float32)


class Kind(NamedTuple):
    """A kind of file: what its name ends with, how a sound one is written and read, and whether it has a checksum."""

    suffix: str
    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    checksum: bool = False


def data() -> ZSLData:
    labels = np.repeat(np.arange(len(NAMES)), 4)
    seen = labels < 5
    return ZSLData(
        name="toy",
        features_name="res101",
        features=RANDOM.random((len(labels), 3)).astype(np.float32),
        labels=labels,
        semantics=ROWS,
        class_names=NAMES,
        train=np.flatnonzero(seen & (np.arange(len(labels)) % 4 > 0)),
        test_seen=np.flatnonzero(seen & (np.arange(len(labels)) % 4 == 0)),
        test_unseen=np.flatnonzero(~seen),
    )


DATA = data()


def of_scores(path: Path) -> Any:
    file = read_scores(path)
    return file.scores, file.images, np.array(file.classes or ())


def of_semantics(path: Path) -> Any:
    found = with_semantics(DATA, str(path))
    return found.semantics, np.array(found.attributes)


def of_roles(path: Path) -> Any:
    roles = read_roles(path, NAMES, [])
    return np.array(roles.unseen), np.array(roles.validation)


def torch_file(path: Path, zipped: bool = True) -> None:
    content = {"scores": torch.tensor(SCORES), "images": torch.tensor(IMAGES), "classes": list(NAMES)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def table(head: list[str], rows: list[tuple[object, ...]], separator: str = ",") -> bytes:
    return "".join(separator.join(map(str, row)) + "\n" for row in [head, *rows]).encode()


def lines(separator: str) -> bytes:
    return "".join(separator.join([n, *map(str, row)]) + "\n" for n, row in zip(NAMES, ROWS, strict=True)).encode()


VECTORS = "".join(
    f"{w} {i} {i / 7:.4f}\n"
    for i, w in enumerate(
        ["the", "black", "footed", "albatross", "grizzly", "bear", "café", "zebra", "otter", "seal", "bat"]
    )
)
ATTRIBUTES = table(["class", *"vwxyz"], [(n, *row) for n, row in zip(NAMES, ROWS, strict=True)])
SCORE_TABLE = table(["image", *NAMES], [(i, *row) for i, row in zip(IMAGES, SCORES, strict=True)])
ROLES = table(["class", "role"], [(n, "unseen" if i > 4 else "seen") for i, n in enumerate(NAMES)])
TEXTS = [(name, f"it has {i} legs") for i, name in enumerate(NAMES)]
TEMPLATES = "a photo of a {}\na drawing of a {}, a kind of animal\n{}\n"
KINDS = {
    "scores npz": Kind(".npz", lambda p: np.savez(p, scores=SCORES, images=IMAGES, classes=NAMES), of_scores, True),
    "scores npz packed": Kind(
        ".npz", lambda p: np.savez_compressed(p, scores=SCORES, images=IMAGES, classes=NAMES), of_scores, True
    ),
    "scores safetensors": Kind(
        ".safetensors",
        lambda p: safetensors.torch.save_file(
            {"scores": torch.tensor(SCORES), "images": torch.tensor(IMAGES)}, p, {"classes": json.dumps(NAMES)}
        ),
        of_scores,
    ),
    "scores pt": Kind(".pt", torch_file, of_scores, True),
    "scores old pt": Kind(".pt", lambda p: torch_file(p, zipped=False), of_scores),
    "scores csv": Kind(".csv", lambda p: p.write_bytes(SCORE_TABLE), of_scores),
    "semantics npy": Kind(".npy", lambda p: np.save(p, ROWS), of_semantics),
    "semantics npz": Kind(".npz", lambda p: np.savez(p, w2v=ROWS, class_names=NAMES), of_semantics, True),
    "semantics pt": Kind(".pt", lambda p: torch.save(torch.tensor(ROWS).bfloat16(), p), of_semantics, True),
    "semantics text": Kind(".txt", lambda p: p.write_bytes(lines(" ")), of_semantics),
    "semantics csv": Kind(".csv", lambda p: p.write_bytes(lines(";")), of_semantics),
    "attributes": Kind(".csv", lambda p: p.write_bytes(ATTRIBUTES), lambda p: read_attributes(p, NAMES)[0]),
    "attributes gz": Kind(
        ".csv", lambda p: p.write_bytes(gzip.compress(ATTRIBUTES)), lambda p: read_attributes(p, NAMES)[0], True
    ),
    "roles": Kind(".csv", lambda p: p.write_bytes(ROLES), of_roles),
    "texts csv": Kind(".csv", lambda p: p.write_bytes(table(["class", "text"], TEXTS)), lambda p: read_texts(p, NAMES)),
    "texts json": Kind(".json", lambda p: p.write_text(json.dumps(dict(TEXTS))), lambda p: read_texts(p, NAMES)),
    "templates": Kind(".txt", lambda p: p.write_text(TEMPLATES), lambda p: {str(p): read_templates([str(p)])}),
    "vectors": Kind(".txt", lambda p: p.write_text(VECTORS), lambda p: from_word_vectors(p, NAMES).rows),
    "vectors gz": Kind(
        ".txt",
        lambda p: p.write_bytes(gzip.compress(VECTORS.encode())),
        lambda p: from_word_vectors(p, NAMES).rows,
        True,
    ),
}


def mutated(content: bytes, random: np.random.Generator) -> bytes:
    """Flips a bit, cuts the end, zeroes a block, or puts bytes in."""
    place = int(random.integers(len(content)))
    match int(random.integers(5)):
        case 0 | 1:
            return content[:place] + bytes([content[place] ^ (1 << int(random.integers(8)))]) + content[place + 1 :]
        case 2:
            return content[:place]
        case 3:
            end = min(len(content), place + int(random.integers(1, 64)))
            return content[:place] + bytes(end - place) + content[end:]
        case _:
            return content[:place] + random.bytes(int(random.integers(1, 9))) + content[place:]


def digest(result: Any) -> str:
    if isinstance(result, dict):
        return json.dumps(result)
    arrays = result if isinstance(result, tuple) else (result,)
    return hashlib.sha256(b"".join(repr((a.shape, a.dtype.kind)).encode() + a.tobytes() for a in arrays)).hexdigest()


def outcomes(kind: Kind, count: int, seed: int, folder: Path) -> Counter[str]:
    """Returns how many of the mutated files gave the same result, another, or a clean error; others are raised."""
    path = folder / f"file{kind.suffix}"
    kind.write(path)
    content, counts = path.read_bytes(), Counter[str]()
    with warnings.catch_warnings(action="ignore"):
        sound = digest(kind.read(path))
        for number in range(count):
            random = np.random.default_rng([seed, number])
            path.write_bytes(mutated(content, random))
            try:
                counts["same" if digest(kind.read(path)) == sound else "other"] += 1
            except (DataError, UsageError) as error:
                counts["refused"] += 1
                assert "\n" not in str(error) and str(path) in str(error), (number, str(error))
            except Exception as error:
                raise AssertionError(f"mutation {number} of seed {seed}: {error!r}") from error
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused_in_one_line_or_read_as_what_it_says(tmp_path: Path, kind: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = outcomes(KINDS[kind], 40, 1, tmp_path)
    assert counts["refused"]
    assert not (KINDS[kind].checksum and counts["other"])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20  # KiB


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    for name in given.kinds:
        with tempfile.TemporaryDirectory() as folder:
            found = outcomes(KINDS[name], given.count, given.seed, Path(folder))
        print(
            f"{name:20} {dict(found)}  peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB",
            flush=True,
        )
