"""`evaluate`: the figures of scores made by other code, how they are stored, compared and calibrated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outside import CHEAP, Inside
from scorefiles import Scores, made, metrics_of, npz, write_npz
from synthetic import make_xlsa17

import zslbench
from zslbench import XLSA17Dataset
from zslbench.data.scorefile import ScoreFile
from zslbench.errors import Hint, UsageError
from zslbench.runs.fit import train
from zslbench.runs.problem import Problem
from zslbench.runs.scaling import own_scaling
from zslbench.training.trainer import Fit
from zslbench_methods.eszsl import ESZSL, ESZSLParams

__all__ = ["made"]

GOLDEN = {  # percent, computed independently in float64; they came with the score files
    "cub_fclswgan": (56.110, 45.079, 55.512, 49.754, 34.476),
    "cub_lago": (55.900, 24.555, 64.792, 35.614, 33.150),
}
METRICS = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc")


@pytest.mark.parametrize("name", GOLDEN)
def test_published_scores_give_the_figures_computed_independently(inside: Inside, real_data: Path, name: str) -> None:
    scores = real_data.parent / "scores" / f"{name}.npz"
    if not scores.is_file():
        pytest.skip(f"no score file {scores}")
    metrics = metrics_of(inside("evaluate", scores, "-d", "cub", "--data-root", real_data, "--json"))
    for metric, expected in zip(METRICS, GOLDEN[name], strict=True):
        assert 100 * metrics[metric] == pytest.approx(expected, abs=0.005), metric


def test_scores_of_other_images_are_another_record(inside: Inside, tmp_path: Path, made: Scores) -> None:
    """A file of scores alone says nothing of the images, whose list may be corrected."""
    scores = np.tile(made.scores[:1], (len(made.images), 1))
    one = ScoreFile.of(scores, made.images, "mine")
    assert one.sha256 != ScoreFile.of(scores, made.images[::-1], "mine").sha256
    assert one.sha256 == ScoreFile.of(scores.copy(), made.images.tolist(), "mine").sha256


def test_saved_scores_stand_beside_runs_marked_as_made_elsewhere(
    inside: Inside, tmp_path: Path, made: Scores, store: Path
) -> None:
    arguments = ["evaluate", *write_npz(tmp_path, made.scores, made.images), "-d", "digits", "--name", "theirs"]
    assert inside(*arguments).status == 0
    assert not store.exists()  # nothing is kept unless asked for
    assert inside(*arguments, "--save", "--setting", "transductive").status == 0

    answer = inside("compare", "eszsl", "external:theirs", *CHEAP, "--json")
    ours, theirs = json.loads(answer.out)["summary"]
    assert (ours["method"], theirs["method"]) == ("eszsl", "external:theirs")
    for name, expected in made.expected().items():
        assert theirs["metrics"][name] == {"mean": pytest.approx(expected, abs=1e-12), "std": 0, "n": 1}
    table = inside("compare", "eszsl", "external:theirs", *CHEAP, "--plain").out
    [line] = [line for line in table.splitlines() if line.startswith("theirs") or "external:theirs" in line]
    assert "(scores made elsewhere)" in line
    assert "transductive" in line

    [record] = json.loads(inside("runs", "--filter", "method=external:theirs", "--json").out)
    assert record["settings"] == "external"
    assert inside("show", record["id"], "--plain").status == 0


def test_saved_scores_can_be_compared_alone_but_not_on_other_data(inside: Inside, tmp_path: Path, made: Scores) -> None:
    inside("evaluate", *write_npz(tmp_path, made.scores, made.images), "-d", "digits", "--name", "theirs", "--save")
    alone = json.loads(inside("compare", "external:theirs", "-d", "digits", "--json").out)
    assert [row["method"] for row in alone["summary"]] == ["external:theirs"]

    folder = make_xlsa17(tmp_path, "MINE")
    for methods in (["external:theirs"], ["eszsl", "external:theirs"]):
        answer = inside("compare", *methods, "-d", folder)
        assert answer.status == 2
        assert answer.error().startswith("the scores 'external:theirs' are of digits, not of ")
    answer = inside("compare", "external:theirs", "-d", "digits", "--on", "validation")
    assert answer.status == 2
    assert answer.error().startswith("--on validation: scores made elsewhere are of test images")
    searches = inside("compare", "eszsl", "external:thers", "-d", "digits", "--tuned", "--folds", "1")
    assert "no stored scores 'external:thers'" in searches.error()
    assert "tuning eszsl" not in searches.err
    near = inside("compare", "external:thers", "-d", "digits")
    assert near.status == 2
    assert "did you mean 'external:theirs'?" in near.error()


def test_of_scores_saved_again_under_one_name_the_latest_is_compared(
    inside: Inside, tmp_path: Path, made: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = []
    for day in (1, 2, 3, 4):
        pretend(monkeypatch, day)
        scores = made.scores + np.random.default_rng(day).normal(size=made.scores.shape)
        arguments = write_npz(tmp_path, scores, made.images)
        saved = inside("evaluate", *arguments, "-d", "digits", "--name", "theirs", "--save", "--json")
        values.append(metrics_of(saved)["ausuc"])
    answer = inside("compare", "eszsl", "external:theirs", *CHEAP, "--json")
    assert json.loads(answer.out)["summary"][1]["metrics"]["ausuc"]["mean"] == values[-1]


def pretend(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    """Sets the clock that records are stamped by."""
    import datetime as clock

    import zslbench.runs.external

    class Stopped(clock.datetime):
        @classmethod
        def now(cls, tz: clock.tzinfo | None = None) -> Stopped:
            return cls(2026, 1, day, tzinfo=tz)

    monkeypatch.setattr(zslbench.runs.external, "datetime", Stopped)


class Fitted:
    """ESZSL's scores of the two parts of digits, as a stranger's code would have them."""

    def __init__(self, folder: Path) -> None:
        data = zslbench.load("digits")
        self.scores, self.images = {}, {}
        for part, fold in (("test", None), ("validation", 0)):
            problem = Problem.of(data, "inductive", own_scaling(ESZSL), fold)
            model = train(lambda: ESZSL(ESZSLParams()), problem, 0, Fit(torch.device("cpu")))
            view = model.problem.test
            order = np.random.default_rng(1).permutation(len(view))  # neither rows nor columns as the harness has them
            columns = np.random.default_rng(2).permutation(len(view.classes))
            names = [view.classes.names[c] for c in columns]
            self.scores[part] = model.scorer().scores(slice(0, len(view)), columns).numpy()[order]
            self.images[part] = view.images[order] + 1
            npz(folder / f"{part}.npz", scores=self.scores[part], images=self.images[part], classes=names)


def test_scores_of_the_validation_part_give_the_calibration_of_a_run(inside: Inside, tmp_path: Path) -> None:
    Fitted(tmp_path)
    own = metrics_of(inside("run", "eszsl", *CHEAP, "--json"))
    arguments = ["evaluate", tmp_path / "test.npz", "-d", "digits", "--name", "theirs"]
    answer = inside(*arguments, "--validation", tmp_path / "validation.npz", "--save", "--json")
    assert metrics_of(answer) == pytest.approx(own, abs=1e-6)
    [record] = json.loads(answer.out)["runs"]
    assert record["validated"] and record["validation"]["ausuc"] > 0
    assert inside("runs", "verify").status == 0
    compared = inside("compare", "external:theirs", "-d", "digits", "--plain").out
    assert "no gamma can be chosen" not in compared and f"{100 * own['h_cal']:.1f}" in compared
    alone = metrics_of(inside(*arguments, "--json"))
    assert alone == {name: pytest.approx(value) for name, value in own.items() if name in alone}
    assert "h_cal" not in alone


def test_a_validation_part_of_other_images_or_classes_is_one_line(inside: Inside, tmp_path: Path) -> None:
    fitted, path = Fitted(tmp_path), tmp_path / "bad.npz"
    scores, images = fitted.scores["validation"], fitted.images["validation"]
    for said, arrays in {
        "the validation part has 435, of which 435 are missing": {
            "scores": fitted.scores["test"][:, :7],
            "images": fitted.images["test"],
        },
        "the validation part has 435, of which 1 are missing": {"scores": scores[1:], "images": images[1:]},
        "435 images and 7 classes of trainval need (435, 7)": {
            "scores": np.zeros((len(images), 10)),
            "images": images,
        },
        "class '3' is missing; it has '2' instead": {
            "scores": scores,
            "images": images,
            "classes": ["0", "1", "2", "6", "7", "8", "9"],
        },
    }.items():
        npz(path, **arrays)
        answer = inside("evaluate", tmp_path / "test.npz", "-d", "digits", "--validation", path)
        assert answer.status == 1
        assert answer.error().startswith(f"{path}: ") and said in answer.error()


def test_columns_of_trainval_may_be_called_by_the_numbers_of_the_data_set(make_xlsa17: Any, tmp_path: Path) -> None:
    data = XLSA17Dataset.at(make_xlsa17()).load(tmp_path)
    view, seen = data.test_view(0), data.split.seen
    scores = np.random.default_rng(0).normal(size=(len(view), len(seen)))
    plain = ScoreFile.of(scores, view.images + 1, "mine")
    expected = scores[:, [seen.tolist().index(data.class_names.index(name)) for name in view.classes.names]]
    np.testing.assert_array_equal(plain.matrix_for(view, data.class_names), expected)
    numbers = tuple(str(c + 1) for c in seen)
    with pytest.warns(Hint, match="its classes are taken for their numbers, from 1"):
        np.testing.assert_array_equal(replace(plain, classes=numbers).matrix_for(view, data.class_names), expected)


def test_in_python_a_validation_part_is_a_file_or_a_pair(tmp_path: Path) -> None:
    fitted = Fitted(tmp_path)
    data, order = zslbench.load("digits"), np.argsort(fitted.images["validation"])
    by_file = zslbench.evaluate(tmp_path / "test.npz", data, validation=tmp_path / "validation.npz").summary()
    columns = np.argsort(np.random.default_rng(2).permutation(7))
    view = data.test_view(0)
    inner = fitted.scores["validation"][order][:, columns]  # in the order of the view's classes
    ascending = np.argsort([int(name) for name in view.classes.names])
    pair = (inner[:, ascending], fitted.images["validation"][order])
    by_pair = zslbench.evaluate(tmp_path / "test.npz", data, validation=pair).summary()
    assert by_pair.loc[0, "h_cal"] == by_file.loc[0, "h_cal"]
    with pytest.raises(UsageError, match="give a file, or a pair"):
        zslbench.evaluate(tmp_path / "test.npz", data, validation=inner)
