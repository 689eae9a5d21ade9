"""zslbench from Python: methods and data by name, class or instance; results as frames; metrics that train nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from outside import store
from torch import Tensor
from toy import toy_data

import zslbench
from zslbench import Bench, Embedder, Event, Params, ProblemShape, TrainView, ZSLData, param
from zslbench.errors import DataError, NotApplicable, RunError, UsageError

__all__ = ["store"]


class RidgeParams(Params):
    lam: float = param(1.0, "weight of the penalty", search=(0.1, 10.0), log=True, gt=0)


class OwnRidge(Embedder[RidgeParams]):
    """Ridge regression from features to class embeddings."""

    scale = "zscore"
    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        return x @ self.W

    def solve(self, view: TrainView) -> None:
        gram = view.x.T @ view.x + self.params.lam * len(view.x) * torch.eye(view.shape.features)
        self.W.copy_(torch.linalg.solve(gram, view.x.T @ view.semantics[view.y]))


class Failing(OwnRidge):
    """Cannot be trained."""

    def solve(self, view: TrainView) -> None:
        raise ValueError("no luck")


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def bench(store: Path, events: list[Event]) -> Bench:
    return Bench(on_event=events.append)


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_a_comparison_by_name_has_a_row_for_each_method_and_data_set_and_a_run_for_each_seed(bench: Bench) -> None:
    results = bench.compare(["devise:epochs=2", "eszsl"], dataset=["digits", toy_data()], seeds=2)
    frame, summary = results.frame(), results.summary()
    assert len(results) == len(frame) == 8 and len(summary) == 4
    assert list(frame["method"].unique()) == ["devise:epochs=2", "eszsl"]
    assert list(frame["dataset"].unique()) == ["digits", "toy"]
    assert set(frame["seed"]) == {0, 1}
    assert frame.set_index("id").loc[results[0].id, "ausuc"] == results[0].metrics["ausuc"]
    assert (frame.loc[frame["method"] == "devise:epochs=2", "param_epochs"] == 2).all()
    assert frame.loc[frame["method"] == "eszsl", "param_gamma"].notna().all(), "a parameter is no metric of its name"
    for _, row in summary.iterrows():
        own = frame[(frame["method"] == row["label"]) & (frame["dataset"].str.lower() == row["dataset"].lower())]
        assert row["h"] == pytest.approx(own["h"].mean()) and row["h_std"] == pytest.approx(own["h"].std(), abs=1e-12)
        assert row["ausuc_low"] <= row["ausuc"] <= row["ausuc_high"] and row["ausuc_group"]


def test_the_table_of_a_notebook_and_that_of_print_show_the_same_figures(bench: Bench) -> None:
    results = bench.compare(["devise:epochs=2", "eszsl"], dataset="digits", seeds=1)
    text, html = repr(results), results._repr_html_()
    assert "DeViSE epochs=2" in text and "<table>" in html and "DeViSE epochs=2" in html
    figure = f"{100 * results[0].metrics['ausuc']:.1f}"
    assert figure in text and figure in html
    [read] = pd.read_html(html, flavor="lxml") if _has_lxml() else [None]
    assert read is None or len(read) == 2


def _has_lxml() -> bool:
    try:
        import lxml  # noqa: F401
    except ImportError:
        return False
    return True


def test_options_by_their_own_names_are_hyper_parameters(bench: Bench) -> None:
    [result] = bench.run("devise", dataset="digits", lr=0.01, epochs=3)
    assert (result.params["lr"], result.params["epochs"]) == (0.01, 3)
    assert bench.run("devise:lr=0.01", dataset="digits", params={"epochs": "3"})[0].id == result.id
    with pytest.raises(UsageError, match=r"method 'devise' has no parameter 'lrr'; did you mean 'lr'"):
        bench.run("devise", dataset="digits", lrr=0.01)
    with pytest.raises(UsageError, match="folds 0: should be greater than or equal to 1"):
        bench.tune("devise", dataset="digits", folds=0)


def test_what_is_stored_is_not_repeated_and_the_command_line_finds_it(
    bench: Bench, events: list[Event], store: Path
) -> None:
    first = bench.compare(["eszsl", "sae"], dataset="digits", seeds=1)
    assert kinds(events).count("started") == 2
    events.clear()
    again = bench.compare(["eszsl", "sae"], dataset="digits", seeds=1)
    assert "started" not in kinds(events) and [r.id for r in again] == [r.id for r in first]
    command = [sys.executable, "-m", "zslbench", "compare", "eszsl", "sae", "-d", "digits", "--seeds", "1"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "2 of 2 runs were stored already" in answer.stderr


def test_a_class_and_an_instance_run_like_a_registered_method(bench: Bench, events: list[Event]) -> None:
    results = bench.compare([OwnRidge, OwnRidge(RidgeParams(lam=0.5)), "eszsl"], dataset="digits", seeds=1)
    assert [row.label for row in results.rows] == ["own-ridge", "own-ridge:lam=0.5", "eszsl"]
    assert [result.params.get("lam") for result in results][:2] == [1.0, 0.5]
    assert results[0].metrics["acc_uu"] > 1.2 / 3  # three unseen digits
    again = bench.run(OwnRidge, dataset="digits", lam=0.5)
    assert again[0].id == results[1].id and kinds(events).count("started") == 3
    [search] = bench.tune(OwnRidge, dataset="digits", trials=4, folds=1)
    assert search.method == "own-ridge" and search.finished


def test_a_registered_class_is_the_method_of_that_name(bench: Bench) -> None:
    from zslbench_methods.eszsl import ESZSL

    named, classed = bench.compare(["eszsl", ESZSL], dataset="digits", seeds=1), bench.run(ESZSL, dataset="digits")
    assert [row.label for row in named.rows] == ["eszsl"] and named[0].id == classed[0].id


def test_a_class_that_was_edited_never_meets_the_results_of_its_earlier_state(bench: Bench) -> None:
    def defined(factor: float) -> Any:
        scope: dict[str, Any] = {"OwnRidge": OwnRidge, "__name__": "notebook"}
        body = "class Edited(OwnRidge):\n    def embed(self, x):\n        return FACTOR * (x @ self.W)\n"
        exec(f"FACTOR = {factor}\n{body}", scope)
        return scope["Edited"]

    ids = [bench.run(defined(factor), dataset="digits")[0].id for factor in (1.0, 2.0, 1.0)]
    assert ids[0] != ids[1] and ids[0] == ids[2]


def test_several_jobs_take_what_has_a_name_and_this_process_the_rest(store: Path, events: list[Event]) -> None:
    with Bench(jobs=2, on_event=events.append) as bench:
        results = bench.compare(["eszsl", OwnRidge], dataset="digits", seeds=1)
        toy = bench.run("eszsl", dataset=toy_data())
    alone = Bench(store=store / "alone", on_event=None).compare(["eszsl", OwnRidge], dataset="digits", seeds=1)
    assert [r.metrics for r in results] == [r.metrics for r in alone] and len(toy) == 1


def test_data_from_arrays_is_a_data_set(bench: Bench) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    embeddings = random.random((6, 4))
    features = embeddings[labels] @ random.normal(size=(4, 8)) + 0.05 * random.normal(size=(60, 8))
    seen = np.flatnonzero(labels < 4)
    how = {"train": seen[seen % 5 != 0], "test_seen": seen[seen % 5 == 0], "test_unseen": np.flatnonzero(labels >= 4)}
    data = ZSLData.from_arrays(features, labels.tolist(), embeddings, name="mine", **how)
    assert data.class_names == tuple(f"class {c}" for c in range(6)) and data.features.dtype == np.float32
    results = bench.compare(["eszsl", "devise:epochs=3"], dataset=data, seeds=1)
    assert set(results.frame()["dataset"]) == {"mine"} and results[0].metrics["acc_uu"] > 0.5
    other = ZSLData.from_arrays(features + 1e-3, labels, embeddings, name="mine", **how)
    assert bench.run("eszsl", dataset=other)[0].id != results[0].id
    with pytest.raises(UsageError, match="two data sets are called 'mine'"):
        bench.compare("eszsl", dataset=[data, other])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": [0.5] * 60}, "labels must be whole numbers"),
        ({"features": np.full((60, 8), np.nan)}, "NaN or infinite"),
        ({"features": np.zeros((59, 8))}, r"features .* have shape \(59, 8\) for 60 labels"),
        ({"class_names": ["a", "b"]}, "2 class names for 6 class embeddings"),
        ({"train": [0, 60]}, "trainval points outside the 60 images"),
        ({"train": np.ones(60, dtype=bool)}, "share images"),
    ],
)
def test_wrong_arrays_are_one_line(change: dict[str, Any], reason: str) -> None:
    given: dict[str, Any] = {
        "features": np.zeros((60, 8)),
        "labels": np.repeat(np.arange(6), 10),
        "semantics": np.ones((6, 4)),
        "train": np.arange(30),
        "test_seen": np.arange(30, 40) - 30 + 30,
        "test_unseen": np.arange(50, 60),
    }
    given["labels"][30:40] = 0
    given["labels"][40:50] = 1
    with pytest.raises(DataError, match=reason):
        ZSLData.from_arrays(**(given | change))


def test_a_curve_has_the_area_of_the_record_and_the_confusion_all_images(bench: Bench) -> None:
    [result] = bench.run("eszsl", dataset="digits")
    curve = result.curve()
    assert list(curve.columns) == ["gamma", "acc_ut", "acc_st"] and curve["gamma"].is_monotonic_increasing
    assert np.trapezoid(curve["acc_st"], curve["acc_ut"]) == pytest.approx(result.metrics["ausuc"])
    per_class, confusion = result.per_class(), result.confusion()
    assert per_class.loc[~per_class["seen"], "u->t"].mean() == pytest.approx(result.metrics["acc_ut"])
    assert per_class.loc[per_class["seen"], "s->t"].mean() == pytest.approx(result.metrics["acc_st"])
    assert confusion.to_numpy().sum() == len(result.decisions().y)
    right = np.diag(confusion) / confusion.sum(axis=1)
    unseen = per_class.index[~per_class["seen"]]
    assert right[unseen].mean() == pytest.approx(result.metrics["acc_ut"])
    calibrated = result.confusion(result.metrics["gamma"])
    shares = np.diag(calibrated) / calibrated.sum(axis=1)
    assert shares[unseen].mean() == pytest.approx(result.metrics["acc_ut_cal"])


def test_a_run_that_fails_is_kept_in_errors_and_costs_the_others_nothing(bench: Bench, events: list[Event]) -> None:
    results = bench.compare([Failing, "eszsl"], dataset="digits", seeds=1)
    assert len(results) == 1 and len(results.errors) == 1 and "failed" in kinds(events)
    with pytest.raises(RunError, match=r"1 of 2 runs failed; the others are stored. First: ValueError: no luck"):
        results.check()
    with pytest.raises(RunError, match="ValueError: no luck"):
        bench.run(Failing, dataset="digits")


def test_a_method_that_cannot_be_run_says_why(bench: Bench) -> None:
    signed = toy_data()
    data = ZSLData.from_arrays(
        signed.features,
        signed.labels,
        signed.semantics - 0.5,
        train=signed.train,
        test_seen=signed.test_seen,
        test_unseen=signed.test_unseen,
        attributes=False,
    )
    with pytest.raises(NotApplicable, match="DAP needs attributes"):
        bench.run("dap", dataset=data)
    assert len(bench.compare(["dap", "eszsl"], dataset=data, seeds=1)) == 1


def test_scores_in_memory_are_measured_like_a_run(bench: Bench) -> None:
    data = toy_data()
    test = data.test_view()
    classes = [data.class_names.index(name) for name in test.classes.names]
    scores = np.zeros((len(test), len(data.class_names)))
    scores[np.arange(len(test)), np.array(classes)[test.y]] = 1.0
    [result] = bench.evaluate(scores, data, images=test.images + 1, name="oracle", save=True)
    assert result.metrics["acc_uu"] == result.metrics["h"] == 1.0
    rows = bench.compare(["external:oracle", "eszsl"], dataset=data, seeds=1).rows
    assert {row.label for row in rows} == {"external:oracle", "eszsl"}
    with pytest.raises(UsageError, match="give images="):
        bench.evaluate(scores, data)


def test_the_functions_of_the_package_are_those_of_a_bench(store: Path) -> None:
    results = zslbench.compare(["eszsl"], dataset="digits", seeds=1, on_event=None, store=store / "other")
    assert len(results) == 1 and (store / "other" / "runs").is_dir() and not (store / "runs").exists()
    assert zslbench.run("eszsl", dataset="digits", on_event=None)[0].metrics == results[0].metrics
    [search] = zslbench.tune("sae", dataset="digits", folds=1, on_event=None)
    assert (
        zslbench.run("sae", dataset="digits", tuned=True, folds=1, on_event=None)[0].params["lam"]
        == search.tuned["lam"]
    )
    found = Bench(on_event=None).records(method="eszsl")
    assert [result.id for result in found] == [results[0].id]


def test_a_bench_with_wrong_settings_is_refused(tmp_path: Path) -> None:
    for settings, reason in (
        ({"jobs": 0}, "jobs=0"),
        ({"engine": "inlin"}, "unknown engine 'inlin'; did you mean 'inline'"),
        ({"device": "gpu"}, "choose auto, cpu, cuda"),
    ):
        with pytest.raises(UsageError, match=reason):
            Bench(store=tmp_path, on_event=None, **settings)
    with pytest.raises(UsageError, match="give how many, from 1"):
        Bench(store=tmp_path, on_event=None).run("eszsl", dataset="digits", seeds=0)
