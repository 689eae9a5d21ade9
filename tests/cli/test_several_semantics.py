"""`--semantics` given several times: a row for each kind of class embeddings, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from outside import CHEAP, Inside, inside, store

from zslbench import Bench
from zslbench.data.catalogue import find_dataset
from zslbench.errors import UsageError

__all__ = ["inside", "store"]

NAMES = ["ESZSL [semantics=att]", "ESZSL [semantics=turned]", "ESZSL [semantics=noise]"]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Returns files with the digits' attributes in another basis, and with noise."""
    own, random = find_dataset("digits").load(tmp_path).semantics, np.random.default_rng(0)
    turned = own @ np.linalg.qr(random.standard_normal((own.shape[1], own.shape[1])))[0]
    np.save(tmp_path / "turned.npy", turned)
    np.save(tmp_path / "noise.npy", random.standard_normal(own.shape))
    return [str(tmp_path / "turned.npy"), str(tmp_path / "noise.npy")]


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_has_a_row_and_a_run_of_its_own(inside: Inside, files: list[str], jobs: int) -> None:
    given = [word for one in ("att", *files) for word in ("--semantics", one)]
    answer = inside("compare", "eszsl", "-d", "digits", "--seeds", 1, *given, *CHEAP, "--jobs", jobs, "--json")
    assert answer.status == 0, answer.err
    rows = json.loads(answer.out)["runs"]
    assert [row["spec"]["semantics"] for row in rows] == ["att", "turned", "noise"]
    own, turned, noise = (row["metrics"]["ausuc"] for row in rows)
    assert own == pytest.approx(turned, abs=0.01)  # ESZSL asks for inner products of classes, which a turn preserves
    assert noise != pytest.approx(own, abs=0.01)
    alone = json.loads(inside("run", "eszsl", "-d", "digits", "--semantics", files[1], *CHEAP, "--json").out)["runs"]
    assert alone[0]["id"] == rows[2]["id"]


def test_tables_name_them_and_searches_are_apart(tmp_path: Path, files: list[str]) -> None:
    bench = Bench(store=tmp_path / "own", on_event=None)
    results = bench.compare(["eszsl"], dataset="digits", seeds=1, semantics=["att", *files], tuned=True, folds=1)
    assert [row.entrant.distinction for row in results.rows if row.entrant] == [name[6:] for name in NAMES]
    searches = [row.search for row in results.rows]
    assert len({search.id for search in searches if search}) == 3
    assert results.frame()["semantics"].tolist() == ["att", "turned", "noise"]


def test_two_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "noise.npy"
    np.save(other, np.random.default_rng(1).standard_normal(np.load(files[1]).shape))
    bench = Bench(store=tmp_path / "own", on_event=None)
    given = [files[1], str(other), files[1]]  # one given twice is one
    results = bench.compare(["eszsl"], dataset="digits", seeds=1, semantics=given, calibrated=False)
    shown = [row.entrant.distinction for row in results.rows if row.entrant]
    assert shown == [f"[semantics={files[1]}]", f"[semantics={other}]"]


@pytest.mark.parametrize("wrong", [3, [3], ["att", None]])
def test_what_names_no_class_embeddings_is_refused(tmp_path: Path, wrong: object) -> None:
    with pytest.raises(UsageError, match=r"--semantics .*give att, original or files"):
        Bench(store=tmp_path / "own", on_event=None).run("eszsl", dataset="digits", semantics=wrong)


def test_the_exhibits_of_a_paper_take_one_kind(inside: Inside, files: list[str], tmp_path: Path) -> None:
    given = ["--semantics", files[0], "--semantics", files[1]]
    answer = inside("paper", "spaen", "-d", "digits", "--out", tmp_path / "out", *given)
    assert answer.status == 2 and "give one by --semantics" in answer.err
    assert not (tmp_path / "out").exists()
