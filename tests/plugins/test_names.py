"""What a name stands for: a registered name, or else a title or another case, which a notice tells."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from outside import CHEAP, Inside

from zslbench import MethodCard, XLSA17Dataset
from zslbench.api.cards import DatasetCard, EvaluatorCard
from zslbench.data.catalogue import dataset_name, find_dataset
from zslbench.discovery.registry import Registry
from zslbench.errors import Hint, UsageError, near_misses
from zslbench.evaluation.measuring import metric_name
from zslbench.runs.request import Asked
from zslbench.tuning.sweep import tuning_metric


@pytest.fixture
def filled() -> Registry:
    """Two methods of one title, one whose name is the other's title, and other kinds of the same names."""
    registry = Registry()
    for name, title in (("first", "Twin"), ("second", "twin"), ("third", "A-Title (long)"), ("a-title", "Fourth")):
        registry.method(name, "m:A", MethodCard(title, "none"))
    registry.dataset("birds", "m:B", DatasetCard("Third", "none", "none"))
    registry.evaluator("third", "m:C", EvaluatorCard("none"))
    return registry


@pytest.mark.parametrize("text", ["third", "a-title", "first"])
def test_an_exact_name_wins_without_a_word(filled: Registry, text: str) -> None:
    assert filled.name("method", text) == text


@pytest.mark.parametrize(
    ("kind", "text", "name"),
    [
        ("method", "A-Title (long)", "third"),
        ("method", "a-title (LONG)", "third"),
        ("method", "A-TITLE", "a-title"),
        ("method", "THIRD", "third"),
        ("dataset", "third", "birds"),
        ("evaluator", "Third", "third"),
    ],
)
def test_a_title_or_another_case_is_taken_with_a_notice(filled: Registry, kind: str, text: str, name: str) -> None:
    noun = "data set" if kind == "dataset" else kind
    with pytest.warns(Hint, match=f"^{re.escape(text)}: taken as {noun} {name}$"):
        assert filled.name(kind, text) == name
    with pytest.warns(Hint):
        assert filled.entry(kind, text).name == name


def test_a_title_of_several_is_refused_with_their_names(filled: Registry) -> None:
    with pytest.raises(UsageError, match=r"^method 'TWIN' is 'first' or 'second'; give one of these names$"):
        filled.name("method", "TWIN")


@pytest.mark.parametrize(
    ("text", "suggested"), [("thrid", "'third'"), ("A-Title (lnog)", "'third'"), ("Forth", "'a-title'")]
)
def test_near_misses_look_at_titles_and_suggest_names(filled: Registry, text: str, suggested: str) -> None:
    with pytest.raises(UsageError, match=f"^unknown method '{re.escape(text)}'; did you mean .*{suggested}"):
        filled.name("method", text)


def test_a_name_of_any_kind_is_found_in_all(filled: Registry) -> None:
    assert [(entry.kind, entry.name) for entry in filled.find("third")] == [
        ("method", "third"),
        ("evaluator", "third"),
    ]
    with pytest.warns(Hint) as notices:
        assert [entry.name for entry in filled.find("THIRD")] == ["third", "birds", "third"]
    assert len(notices) == 3
    with pytest.raises(UsageError, match=r"^unknown method or data set 'x'; known: a-title, birds"):
        filled.find("x", ["method", "dataset"])


def test_near_misses_suggest_a_name_once() -> None:
    assert near_misses("SAEE", ["sae"], {"SAE": "sae"}) == "; did you mean 'sae'?"
    assert near_misses("zzz", ["b", "a"], {"Title": "a"}) == "; known: a, b"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("SP-AEN", "spaen"),
        ("DeViSE:margin=0.1", "devise:margin=0.1"),
        ("SAE@f2s:lam=1", "sae@f2s:lam=1"),
        ("CMT*", "cmt-star"),
    ],
)
def test_a_method_asked_for_by_its_title_is_that_of_the_name(text: str, canonical: str) -> None:
    with pytest.warns(Hint):
        assert Asked.of(text) == Asked.of(canonical)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("CUB", "cub"), ("aPY@bow512", "apy@bow512"), ("Shapes:size=32", "shapes:size=32"), ("Digits", "digits")],
)
def test_a_data_set_by_its_title_keeps_options_and_features(text: str, canonical: str) -> None:
    with pytest.warns(Hint):
        assert dataset_name(text) == canonical
    assert dataset_name(canonical) == canonical


def test_options_are_read_after_a_title() -> None:
    with pytest.warns(Hint, match=r"^SHAPES: taken as data set shapes$"):
        assert find_dataset("SHAPES:size=32").name == "shapes, size=32"


def test_a_folder_of_that_name_wins_over_a_title(
    make_xlsa17: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_xlsa17(name="CUB")
    monkeypatch.chdir(tmp_path)
    for text in ("CUB", "CUB@res101", "./CUB", str(folder)):
        assert dataset_name(text) == text
    taken = find_dataset("CUB")
    assert isinstance(taken, XLSA17Dataset) and taken.folder(Path("/elsewhere")) == folder


@pytest.mark.parametrize("text", ["./nowhere", "~/CUB", "some/CUB:x=1", "../CUB@res101"])
def test_a_path_is_left_as_it_is(text: str) -> None:
    assert dataset_name(text) == text


@pytest.mark.parametrize(
    ("text", "name"),
    [("h", "h"), ("H", "h"), ("AUSUC", "ausuc"), ("U->U", "acc_uu"), ("u->u", "acc_uu"), ("h CAL", "h_cal")],
)
def test_a_metric_goes_by_name_or_title_in_any_case(text: str, name: str) -> None:
    assert metric_name(text) == name


def test_an_unknown_metric_suggests_near_ones_and_not_every_metric_is_to_tune_by() -> None:
    with pytest.raises(UsageError, match=r"^unknown metric 'U->X'; did you mean .*'acc_uu'"):
        metric_name("U->X")
    with pytest.raises(UsageError, match=r"^--metric H cal: tuning chooses by acc_uu, acc_ut, acc_st, h, ausuc, "):
        tuning_metric("H cal")


def test_runs_of_a_title_are_those_of_the_name_and_the_notice_comes_once(inside: Inside) -> None:
    by_name = json.loads(inside("compare", "sae", *CHEAP, "--json").out)
    answer = inside("compare", "SAE", "sae", "-d", "DIGITS", *CHEAP, "--json")
    assert json.loads(answer.out) == by_name
    assert sorted(answer.err.splitlines()[:2]) == ["DIGITS: taken as data set digits", "SAE: taken as method sae"]
    assert answer.err.count("taken as") == 2


def test_a_title_will_do_wherever_methods_are_named(inside: Inside) -> None:
    tuned = inside("tune", "SAE", "-d", "digits", "--folds", "1", "--metric", "H", "--json")
    [search] = json.loads(tuned.out)
    assert (search["method"], search["metric"]) == ("sae", "h")
    checked = json.loads(inside("check", "SAE", "--json").out)
    assert [(subject["kind"], subject["name"]) for subject in checked] == [("method", "sae")]
