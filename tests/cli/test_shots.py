"""`--shots` and metrics on request, as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import CHEAP, Inside, inside, store
from PIL import Image

import zslbench.runs.execute as execution
from zslbench import Bench
from zslbench.data.catalogue import find_dataset
from zslbench.records.spec import RunSpec

__all__ = ["inside", "store"]


def runs(inside: Inside, *arguments: object) -> list[dict[str, Any]]:
    answer = inside(*arguments, *CHEAP, "--json")
    assert answer.status == 0, answer.err
    return list(json.loads(answer.out)["runs"])


def test_rows_of_several_shots_are_told_apart_and_drawn(inside: Inside, tmp_path: Path) -> None:
    figure = tmp_path / "shots.png"
    command = (
        "compare",
        "eszsl",
        "sae",
        "-d",
        "digits",
        "--seeds",
        2,
        "--shots",
        "1,4,all",
        "--metrics",
        "ausuc,h_cal",
    )
    answer = inside(*command, "--figure", figure)
    assert answer.status == 0
    lines = [line.split("  ")[0] for line in answer.out.splitlines()]
    names = ["ESZSL shots=1", "ESZSL shots=4", "ESZSL", "SAE shots=1", "SAE shots=4", "SAE"]
    assert [line for line in lines if line in names] == names
    assert "n/a for eszsl shots=1: no class has two training images" in answer.out
    with Image.open(figure) as picture:
        assert picture.width > picture.height > 500
    assert figure.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    again = inside(*command, "--existing", "only-cached", "--csv")
    assert again.status == 0 and "10 of 10 runs were stored already" in again.err  # a seed each, but all images once
    head, *rows = [line.split(",") for line in again.out.splitlines()]
    assert [row[head.index("shots")] for row in rows] == ["1", "4", "", "1", "4", ""]
    assert [row[head.index("seeds")] for row in rows] == ["2", "2", "1", "2", "2", "1"]


def test_a_run_is_trained_on_the_images_that_its_seed_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    views, problem_of = [], execution.Problem.of

    def watched(*arguments: Any) -> Any:
        problem = problem_of(*arguments)
        views.append(problem.train)
        return problem

    monkeypatch.setattr(execution.Problem, "of", watched)
    bench = Bench(store=tmp_path / "own", on_event=None)
    results = bench.compare(["eszsl", "sae"], dataset="digits", seeds=[3], shots=5, calibrated=False, scale="none")
    expected = find_dataset("digits").load(tmp_path).with_shots(5, 3).train_view("inductive")
    assert len(views) == 2 and all(view.x.equal(expected.x) and view.y.equal(expected.y) for view in views)
    assert [result.record.spec.shots for result in results] == [5, 5]
    assert results.frame()["shots"].tolist() == [5, 5]


def test_stored_runs_of_few_images_are_found_repeated_verified_and_measured(inside: Inside) -> None:
    [few] = runs(inside, "run", "eszsl", "--shots", 3)
    [full] = runs(inside, "run", "eszsl")
    assert few["id"] != full["id"] and few["spec"]["shots"] == 3 and full["spec"]["shots"] is None
    listed = json.loads(inside("runs", "--filter", "shots=3", "--json").out)
    assert [run["id"] for run in listed] == [few["id"]]
    assert "repeated bit for bit" in inside("runs", "repeat", few["id"]).out
    assert "3 training images of each seen class" in inside("show", few["id"], "--plain").out
    for evaluator in ("open-set", "average-precision", "calibration-error", "hubness", "top-k", "base-to-new"):
        assert "cannot" not in inside("measure", few["id"], "--evaluator", evaluator).out
    assert inside("runs", "verify").out == "checked: records 2, searches 0, checkpoints 0; damaged: 0\n"


def test_shots_are_part_of_the_identity_of_runs_and_searches_where_they_are_set(inside: Inside) -> None:
    tune = ("tune", "eszsl", "-d", "digits", "--search", "lam=0.1,1", "--folds", 1, "--json")
    [few], [full] = (json.loads(inside(*tune, *how).out) for how in (["--shots", 4], []))
    assert few["id"] != full["id"] and few["shots"] == 4
    [run] = runs(inside, "run", "eszsl", "--shots", 4, "--tuned", "--search", "lam=0.1,1", "--folds", 1)
    assert f"(search {few['id']})" in run["params_from"]
    spec = RunSpec.model_validate(run["spec"])
    assert spec.id == run["id"] != RunSpec(**spec.model_dump(exclude={"shots"})).id


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "eszsl", "--shots", "0"], "--shots 0: give a whole number of images, a share between 0 and 1"),
        (["compare", "eszsl", "--figure", "a.png"], "--figure: it shows several numbers of training images"),
        (["compare", "eszsl", "--figure", "a.svg", "--shots", "1,2"], "--figure a.svg: end it with .png or .pdf"),
        (["paper", "spaen", "--shots", "1,2"], "--shots: exhibits of a paper are made of one number"),
        (["run", "eszsl", "--shots", "1", "--on", "validation"], "no class has two training images"),
        (
            ["compare", "eszsl", "--shots", "1,2", "--tuned"],
            "cannot be tuned on digits: no class has two training images",
        ),
    ],
)
def test_what_cannot_be_is_one_line(words: list[str], message: str, inside: Inside) -> None:
    answer = inside(*words, "-d", "digits")
    assert answer.status and message in answer.err and "Traceback" not in answer.err


def test_metrics_on_request_cost_others_nothing_and_are_added_without_training(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    [plain] = runs(inside, "run", "eszsl")
    assert not {"auroc", "map", "ece"} & plain["metrics"].keys()
    assert not {"open-set", "average-precision"} & plain["measured"].keys()
    monkeypatch.setattr(execution, "train", lambda *_: pytest.fail("nothing is to be trained"))
    [measured] = runs(inside, "run", "eszsl", "--metrics", "AUROC,map")
    assert plain["metrics"].items() < measured["metrics"].items() and {"auroc", "map"} <= measured["metrics"].keys()
    assert not {"ece", "hubness_1"} & measured["metrics"].keys()
    table = inside("compare", "eszsl", *CHEAP, "--metrics", "mAP,oscr", "--text").out  # the model is asked no more
    assert "OSCR" in table and "mAP" in table
    before = inside("compare", "eszsl", *CHEAP, "--csv").out.splitlines()[0].split(",")
    assert "auroc" in before and "ece" not in before  # what a row has is exported


def test_a_search_may_choose_by_a_metric_on_request(inside: Inside) -> None:
    words = ("--search", "lr=0.01,0.001", "--trials", 2, "--folds", 1, "-p", "epochs=2", "--metric", "map")
    answer = inside("tune", "devise", "-d", "digits", *words, "--json")
    assert answer.status == 0, answer.err
    [search] = json.loads(answer.out)
    assert search["metric"] == "map" and all(trial["state"] == "complete" for trial in search["trials"])


def test_scores_made_elsewhere_are_measured_on_request(inside: Inside, tmp_path: Path) -> None:
    view = find_dataset("digits").load(tmp_path).test_view()
    classes = [int(name) for name in view.classes.names]
    scores = np.zeros((len(view), 10))
    scores[np.arange(len(view)), np.array(classes)[view.y]] = 1
    np.savez(tmp_path / "right.npz", scores=scores, images=view.images + 1)
    answer = inside("evaluate", tmp_path / "right.npz", "-d", "digits", "--metrics", "auroc,map,acc_ss", "--json")
    found = json.loads(answer.out)["runs"][0]["metrics"]
    assert [found["auroc"], found["map"], found["acc_ss"]] == pytest.approx([1, 1, 1]) and "ece" not in found
