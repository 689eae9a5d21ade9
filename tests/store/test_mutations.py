"""Whatever happens to a stored file, it is read as it was, counts as absent with a warning, or is one clean error."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zslbench.bench import Bench
from zslbench.errors import DataError
from zslbench.records.search import Search, SearchTrial
from zslbench.records.store import Store
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint

HERE = Path(__file__).parent
COUNT = 150
"""Mutations of each kind."""


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Returns the content after one accident: of a disk, of an editor, or of a copy."""
    at, more = chance.randrange(len(content)), chance.randrange(1, 40)
    digits = [i for i, byte in enumerate(content) if chr(byte).isdigit()] or [at]
    digit = chance.choice(digits)
    return chance.choice(
        [
            lambda: content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]) + content[at + 1 :],
            lambda: content[:digit] + b"%d" % chance.randrange(10) + content[digit + 1 :],
            lambda: content[:at],
            lambda: content[:at] + content[at + more :],
            lambda: content[:at] + content[at : at + more] + content[at:],
            lambda: content[:at] + bytes(min(more, len(content) - at)) + content[at + more :],
            lambda: content.replace(b"sha256", b"sha255", 1).replace(b"checksum", b"checksun", 1),
            lambda: b"".join(line for i, line in enumerate(content.splitlines(keepends=True)) if i != more),
            lambda: content + content[at:],
        ]
    )()


def mutations(path: Path, count: int = COUNT) -> Iterator[None]:
    """Puts one accident after the other in the place of a file, and the file itself in the end."""
    content, chance = path.read_bytes(), random.Random(path.suffix)
    for _ in range(count):
        path.write_bytes(mutated(content, chance))
        yield
        for aside in path.parent.glob("*.damaged*"):
            aside.unlink()
    path.write_bytes(content)


def check(path: Path, read: Callable[[], Any], count: int = COUNT) -> None:
    """Mutates a file; what is read is what it was, or nothing; most accidents are found."""
    expected, lost = read(), 0
    assert expected is not None
    for _ in mutations(path, count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = read()
            except DataError as error:
                assert "\n" not in str(error) and str(path.parent) in str(error)
                found = None
        assert found is None or found == expected
        lost += found is None
    assert lost > count * 0.8


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run."""
    folder = tmp_path_factory.mktemp("made") / "store"
    Bench(store=folder, on_event=None).run("devise:epochs=2", dataset="digits")
    return folder


@pytest.fixture
def kept(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "store")
    return tmp_path / "store"


def as_the_version_before_wrote(path: Path) -> None:
    """Gives a file the checksum of its values."""
    values = {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"}
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps({"checksum": hashlib.sha256(canonical.encode()).hexdigest(), **values}, indent=1))


@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
def test_a_record_is_what_it_was_or_absent(kept: Path, before: bool) -> None:
    [path] = kept.glob("runs/*/record.json")
    if before:
        as_the_version_before_wrote(path)
    check(path, lambda: Store(kept).find(path.parent.name))


def test_decisions_are_what_they_were_or_an_error(kept: Path) -> None:
    [path] = kept.glob("runs/*/decisions-*")
    [record] = Store(kept).records()
    check(path, lambda: {name: array.tobytes() for name, array in Store(kept).arrays(record).items()})


@pytest.mark.parametrize("before", [False, True], ids=["", "before"])
def test_a_log_of_a_search_is_what_it_was_or_absent(tmp_path: Path, before: bool) -> None:
    store = Store(tmp_path / "store")
    store.prepare()
    trials = [SearchTrial(params={"lr": 0.1 * i}, state="complete", values=[0.5 + 0.01 * i]) for i in range(1, 4)]
    texts = dict.fromkeys(("method", "dataset", "fingerprint", "features", "scale", "setting", "precision"), "x")
    search = Search(
        **texts, method_version=1, base={}, metric="ausuc", folds=1, strategy="tpe", space={}, wanted=3, trials=trials
    )
    store.save_search(search)
    path = store.search_path(search.id)
    if before:
        as_the_version_before_wrote(path)
    check(path, lambda: Store(store.root).find_search(search.id))


def test_a_checkpoint_is_what_it_was_or_absent(tmp_path: Path) -> None:
    path = tmp_path / "final.safetensors"
    save_checkpoint(path, {"step": 3, "weights": torch.arange(40.0), "losses": [0.25, 0.5], "rng": {"seed": 7}})

    def read() -> str | None:
        state = load_checkpoint(path)
        return None if state is None else repr(state)

    check(path, read)


def older(folder: Path) -> Path:
    with zipfile.ZipFile(HERE / "schema1.zip") as file:
        file.extractall(folder)
    return folder


def test_what_an_older_version_stored_is_what_it_was_once_it_has_been_read(tmp_path: Path) -> None:
    root = older(tmp_path / "old")
    [run] = [record.id for record in Store(root).records() if record.spec.method == "sae"]
    check(Store(root).record_path(run), lambda: Store(root).find(run))
    [search] = [name for name in Store(root).searches() if (Store(root).find_search(name) or 0) and name[0] == "9"]
    check(Store(root).search_path(search), lambda: Store(root).find_search(search))


def test_the_list_of_what_an_older_version_stored_is_read_as_it_was_or_made_again(tmp_path: Path) -> None:
    root = older(tmp_path / "old")
    expected = list(Store(root).records())
    for _ in mutations(root / "schema-1.json", 8):
        assert list(Store(root).records()) == expected


def test_no_figure_of_an_older_version_is_another_on_the_first_reading(tmp_path: Path) -> None:
    root = older(tmp_path / "old")
    for path in (*root.glob("tuned/*"), *root.glob("runs/*/record.json")):
        if '"method": "cmt-star"' not in path.read_text():  # one run is enough, and has all evaluators
            path.unlink()
    [expected] = Store(root).records()
    read = 0
    for _ in mutations(Store(root).record_path(expected.id), 100):
        (root / "schema-1.json").unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for found in Store(root).records():
                assert found.spec == found.spec.model_copy(update={"seed": 0, "params": expected.spec.params})
                assert found.metrics.keys() == expected.metrics.keys()
                figures = [found.metrics[name] for name in expected.metrics if name != "gamma"]
                np.testing.assert_allclose(figures, [v for n, v in expected.metrics.items() if n != "gamma"], 2e-6)
                assert found.intervals.keys() == expected.intervals.keys()
                ends = [found.intervals[name] for name in expected.intervals]
                np.testing.assert_allclose(ends, list(expected.intervals.values()), 2e-6)
                read += 1
    assert read > 5  # accidents in what no figure comes from, times for instance


def test_a_new_store_reads_nothing_without_a_checksum(kept: Path) -> None:
    """Not even what looks as an older version would have written it."""
    opened = Store(kept)
    [record] = opened.records()
    source = older(kept.parent / "old")
    for path in source.glob("runs/*"):
        shutil.copytree(path, kept / "runs" / path.name)
    with pytest.warns(UserWarning, match="it has no checksum"):
        assert list(Store(kept).records()) == [record]
