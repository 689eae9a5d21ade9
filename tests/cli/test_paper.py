"""`zslbench paper`: what it writes and runs, what it leaves out and why, and what it refuses."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from outside import Inside

from zslbench.api.cards import Exhibit
from zslbench.discovery.plugins import registry

EXHIBITS = {
    "figure-1": Exhibit("What attributes vary in.", "attributes"),
    "table-1": Exhibit("Two methods.", "table", ("eszsl", "sae:lam=2"), ("acc_uu", "h")),
    "table-2": Exhibit("Of images.", "table", ("directmap",), ("mse_unseen",)),
    "table-3": Exhibit("Nobody measures it.", "table", ("eszsl",), ("beauty",)),
    "figure-2": Exhibit("A method that is not there.", "curves", ("eszsl", "eszl")),
    "figure-3": Exhibit("Their curves.", "curves", ("eszsl", "sae:lam=2")),
}
ONE = ("-d", "digits", "--seeds", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def _exhibits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives ESZSL's card exhibits of every kind but reconstructions."""
    entry = registry().entry("method", "eszsl")
    card = replace(entry.card, exhibits=EXHIBITS)
    monkeypatch.setitem(registry()._entries, ("method", "eszsl"), replace(entry, card=card))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def records(store: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in store.glob("runs/*/record.json")]
    return {record["spec"]["method"]: record for record in found}


def test_what_can_be_made_is_made_and_the_rest_costs_a_line_each(inside: Inside, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    answer = inside("paper", "eszsl", *ONE, "--out", out)
    assert answer.status == 0
    figures = {f"{name}.{suffix}" for name in ("figure-1", "figure-3") for suffix in ("png", "pdf")}
    assert set(files(out)) == {*figures, "table-1.md", "table-1.tex", "README.md"}
    assert answer.out.splitlines() == [
        f"figure-1: {out / 'figure-1.png'}, {out / 'figure-1.pdf'}",
        f"table-1: {out / 'table-1.md'}, {out / 'table-1.tex'}",
        f"figure-3: {out / 'figure-3.png'}, {out / 'figure-3.pdf'}",
        f"page: {out / 'README.md'}",
    ]
    left = [line for line in answer.err.splitlines() if " is left out: " in line]
    assert [line.partition(" is left out: ")[0] for line in left] == ["table-2", "table-3", "figure-2"]
    for line, reason in zip(left, ("images", "no evaluator measures 'beauty'", "did you mean 'eszsl'"), strict=True):
        assert reason in line

    page = (out / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)", page, re.MULTILINE) == [
        name.replace("-", " ").capitalize()
        for name in EXHIBITS  # in the order of the card
    ]
    for name, exhibit in EXHIBITS.items():
        assert exhibit.caption in page
        assert (f"({name}.pdf)" in page) == (f"{name}.pdf" in figures)
    assert page.count("Not made: ") == 3
    found = records(store)
    assert set(found) == {"eszsl", "sae"}
    for method, title in (("eszsl", "ESZSL"), ("sae", "SAE lam=2")):
        [line] = [line for line in page.splitlines() if line.startswith(f"| {title} ")]
        assert [f"{100 * found[method]['metrics'][m]:.1f}" for m in ("acc_uu", "h")] == [
            cell.strip(" *") for cell in line.split("|")[3:5]
        ]


def test_the_command_on_the_page_gives_the_same_files_and_runs_nothing(
    inside: Inside, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert inside("paper", "eszsl", *ONE, "-p", "gamma=10").status == 0  # which SAE has not
    made = files(tmp_path / "paper-eszsl")
    assert set(made) == {"figure-1.png", "figure-1.pdf", "README.md"}
    assert inside("paper", "eszsl", *ONE).status == 0
    before, stored = files(tmp_path / "paper-eszsl"), sorted(store.rglob("*"))
    [words] = re.findall(r"^    zslbench (.*)$", before["README.md"].decode(), re.MULTILINE)
    answer = inside(*shlex.split(words))
    assert "2 of 2 runs were stored already" in answer.err
    assert files(tmp_path / "paper-eszsl") == before
    assert sorted(store.rglob("*")) == stored


def test_only_what_is_stored_is_shown_if_nothing_may_run(inside: Inside, store: Path, tmp_path: Path) -> None:
    answer = inside("paper", "eszsl", *ONE, "--out", tmp_path / "out", "--existing", "only-cached", "--json")
    assert answer.status == 0
    found = json.loads(answer.out)
    assert list(found["made"]) == ["figure-1"]
    assert found["left_out"]["table-1"] == found["left_out"]["figure-3"] == "none of its runs is stored"
    assert records(store) == {}


def test_one_exhibit_may_be_made_alone(inside: Inside, store: Path, tmp_path: Path) -> None:
    answer = inside("paper", "eszsl", *ONE, "--out", tmp_path / "out", "--exhibit", "figure-1", "--json")
    assert answer.status == 0
    found = json.loads(answer.out)
    assert (list(found["made"]), found["left_out"]) == (["figure-1"], {})
    assert records(store) == {}  # what the others need was not run
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "## Figure 1" in page and "## Table 1" not in page and "--exhibit figure-1" in page, page


def test_a_run_that_fails_costs_its_cells_and_the_command_fails(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One SGD step of 1e38 makes the weights so large that the next loss is infinite."""
    entry = registry().entry("method", "eszsl")
    failing = Exhibit("It fails.", "table", ("devise:optimizer=sgd,lr=3e38,epochs=2", "eszsl"), ("h",))
    card = replace(entry.card, exhibits={"table-1": failing})
    monkeypatch.setitem(registry()._entries, ("method", "eszsl"), replace(entry, card=card))
    answer = inside("paper", "eszsl", *ONE, "--out", tmp_path / "out")
    assert answer.status == 1
    assert "became NaN or infinite" in answer.err.splitlines()[-1]
    lines = (tmp_path / "out" / "table-1.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[-2].strip(" *") == "none" for line in lines if " features " in line] == [True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["paper", "eszsl", "-d", "digit"], "unknown data set 'digit'; did you mean 'digits'"),
        (["paper", "eszl", *ONE], "unknown method 'eszl'; did you mean 'eszsl'"),
        (["paper", "sae", *ONE], "the card of method 'sae' declares no exhibits"),
        (["paper", "eszsl", *ONE, "--out", "{tmp}/file"], "--out {tmp}/file: is a file; name a folder"),
        (["paper", "eszsl", *ONE, "--on", "validation"], "--on validation: papers show test images"),
        (["paper", "eszsl", *ONE, "--metrics", "h"], "--metrics: tables of a paper have the metrics of the paper"),
        (["paper", "eszsl", *ONE, "--exhibit", "tabel-1"], "ESZSL has no exhibit 'tabel-1'; did you mean 'table-1'"),
        (["paper", "eszsl", *ONE, "--seed", "1"], "--seed and --seeds: give one of them"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_and_nothing_is_written(
    inside: Inside, store: Path, tmp_path: Path, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    answer = inside(*(word.format(tmp=tmp_path) for word in words))
    assert answer.status == 2
    assert answer.error().startswith(said.format(tmp=tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir() if path != store) == ["file"]
    assert records(store) == {}


def test_the_flagship_and_its_counterpart_declare_every_figure_and_table_of_their_paper(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cached = ("--existing", "only-cached", "--json")
    found = json.loads(inside("paper", "spaen", *ONE, "--out", tmp_path / "out", *cached).out)
    assert list(found["made"]) == ["figure-1"]
    lacks_runs = "none of its runs is stored"
    assert found["left_out"] == dict.fromkeys(["table-1", "table-2", "figure-7"], lacks_runs)
    own = list(registry().entry("method", "spaen-image").card.exhibits)
    assert own == ["table-2", "probe", "table-3", "figure-4", "figure-5", "figure-7"]
    for words in (["spaen", "--input", "images"], ["spaen-image"]):
        answer = inside("paper", *words, "--preset", "small", "-d", "shapes:images_per_class=5", *cached)
        assert (answer.status, answer.err.splitlines()[-1]) == (1, f"zslbench: {lacks_runs}")


def test_the_other_input_than_that_of_the_methods_is_refused(inside: Inside, tmp_path: Path) -> None:
    answer = inside("paper", "spaen-image", "-d", "shapes:images_per_class=5", "--input", "features")
    assert answer.status == 1
    assert answer.err.splitlines()[-1].endswith("works on images, not on features; leave out --input")


def test_an_exhibit_takes_the_counterparts_on_images_of_its_methods(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry().entry("method", "directmap")
    both = Exhibit("Errors.", "table", ("directmap", "spaen"), ("mse_unseen",), {"directmap": "Direct"})
    card = replace(entry.card, exhibits={"table-1": both})
    monkeypatch.setitem(registry()._entries, ("method", "directmap"), replace(entry, card=card))
    tiny = ("image_size=32", "crops=1", "width=0.05", "hidden=8", "autoencoder_hidden=8", "epochs=1")
    given = [word for pair in tiny for word in ("-p", pair)]
    small = ("-d", "shapes:images_per_class=5,size=32", "--preset", "small", "--seeds", "1", *given)
    answer = inside("paper", "directmap", *small, "--input", "images", "--out", tmp_path / "out")
    assert answer.status == 0, answer.err
    page = (tmp_path / "out" / "table-1.md").read_text(encoding="utf-8")
    assert [
        line.split("|")[1].strip() for line in page.splitlines() if line.startswith("|") and " images " in line
    ] == [
        "Direct",
        "SP-AEN (images)",
    ]
