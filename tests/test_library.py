"""zslbench from Python: methods and data by name, class or instance; results as frames; metrics that train nothing."""

from __future__ import annotations

import inspect
import re
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
from zslbench.runs.request import Request

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
    assert len(results) == len(frame) == 6 and len(summary) == 4  # no seed changes ESZSL
    assert list(frame["method"].unique()) == ["devise:epochs=2", "eszsl"]
    assert list(frame["dataset"].unique()) == ["digits", "toy"]
    assert set(frame["seed"]) == {0, 1}
    assert frame.set_index("id").loc[results[0].id, "ausuc"] == results[0].metrics["ausuc"]
    assert (frame.loc[frame["method"] == "devise:epochs=2", "param_epochs"] == 2).all()
    assert frame.loc[frame["method"] == "eszsl", "param_gamma"].notna().all(), "a parameter is no metric of its name"
    for _, row in summary.iterrows():
        own = frame[(frame["method"] == row["method"]) & (frame["dataset"] == row["dataset"])]
        assert row["h"] == pytest.approx(own["h"].mean()) and row["h_std"] == pytest.approx(
            own["h"].std() if len(own) > 1 else 0.0
        )
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
    with pytest.raises(UsageError, match=r"'lrr' is no option, and method 'devise' has no such .*; did you mean 'lr'"):
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


def test_a_class_that_was_typed_in_runs_although_its_module_has_no_source(store: Path) -> None:
    lines = [
        "import zslbench, torch",
        "from zslbench_methods.eszsl import ESZSL",
        "class Typed(ESZSL): pass",
        "print(len(zslbench.run(Typed, dataset='digits', on_event=None)))",
    ]
    typed = subprocess.run(
        [sys.executable, "-"], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=60
    )
    assert typed.stdout == "1\n"


def test_several_jobs_take_what_has_a_name_and_this_process_the_rest(store: Path, events: list[Event]) -> None:
    with Bench(jobs=2, on_event=events.append) as bench:
        results = bench.compare(["eszsl", OwnRidge], dataset="digits", seeds=1)
        toy = bench.run("eszsl", dataset=toy_data())
    alone = Bench(store=store / "alone", on_event=None).compare(["eszsl", OwnRidge], dataset="digits", seeds=1)
    assert [r.metrics for r in results] == [r.metrics for r in alone] and len(toy) == 1


def test_a_data_set_is_loaded_by_its_name(bench: Bench, events: list[Event]) -> None:
    data = zslbench.load("digits")
    assert data.features is not None and data.features.shape == (1797, 64) and len(data.split.unseen) == 3
    assert bench.run("eszsl", dataset=data)[0].id == bench.run("eszsl", dataset="digits")[0].id
    assert kinds(events).count("started") == 1
    with pytest.raises(UsageError, match="did you mean 'digits'"):
        zslbench.load("digit")


def test_a_listener_may_print(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def listen(event: Event) -> None:
        print(event.kind)

    class Loud(OwnRidge):
        def solve(self, view: TrainView) -> None:
            print("solving")
            super().solve(view)

    Bench(on_event=listen).run(Loud, dataset="digits", calibrated=False)
    out, err = capsys.readouterr()
    assert out.split() == ["began", "started", "finished", "ended"] and "solving" in err


def test_data_from_arrays_is_a_data_set(bench: Bench) -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(6), 10)
    embeddings = random.random((6, 4))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    features = embeddings[labels] @ random.normal(size=(4, 8)) + 0.05 * random.normal(size=(60, 8))
    seen = np.flatnonzero(labels < 4)
    how = {"train": seen[seen % 5 != 0], "test_seen": seen[seen % 5 == 0], "test_unseen": np.flatnonzero(labels >= 4)}
    data = ZSLData.from_arrays(features, labels.tolist(), embeddings, name="mine", **how)
    assert data.class_names == tuple(f"class {c}" for c in range(6)) and data.features.dtype == np.float32
    results = bench.compare(["sae", "devise:epochs=3"], dataset=data, seeds=1)
    assert set(results.frame()["dataset"]) == {"mine"} and results[0].metrics["acc_uu"] > 0.5
    other = ZSLData.from_arrays(features + 1e-3, labels, embeddings, name="mine", **how)
    assert bench.run("sae", dataset=other)[0].id != results[0].id
    with pytest.raises(UsageError, match="two data sets are called 'mine'"):
        bench.compare("eszsl", dataset=[data, other])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"labels": [0.5] * 60}, "labels must be whole numbers"),
        ({"labels": [6] * 60}, "labels run from 6 to 6; 6 class embeddings need 0 to 5"),
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
    assert list(per_class.columns) == ["seen", "acc_uu", "acc_ut", "acc_st"] and per_class["seen"].dtype == bool
    for name in ("acc_uu", "acc_ut", "acc_st"):
        assert per_class[name].mean() == pytest.approx(result.metrics[name])
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
    [(name, error)] = results.errors.items()
    assert name == "failing on digits, seed 0" and isinstance(error.__cause__, ValueError)
    for text in (repr(results), results._repr_html_()):
        assert "failed: failing on digits, seed 0: ValueError: no luck" in text
    with pytest.raises(RunError, match=r"1 of 2 runs failed; the others are stored. First: ValueError: no luck \("):
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
    unsaved = bench.evaluate(scores.tolist(), data, images=list(test.images + 1), name="again")
    for table in (unsaved.text(), repr(unsaved), unsaved.text("latex")):
        assert "again" in table and "100.0" in table
    assert unsaved.summary().loc[0, ["method", "dataset", "h"]].tolist() == ["external:again", "toy", 1.0]
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
        ({"jobs": "2"}, "jobs='2'"),
        ({"on_event": "progres"}, "on_event='progres': give 'progress', None, or a function"),
        ({"engine": "inlin"}, "unknown engine 'inlin'; did you mean 'inline'"),
        ({"device": "gpu"}, "choose auto, cpu, cuda"),
    ):
        with pytest.raises(UsageError, match=reason):
            Bench(store=tmp_path, **({"on_event": None} | settings))
    with pytest.raises(UsageError, match="give how many, from 1"):
        Bench(store=tmp_path, on_event=None).run("eszsl", dataset="digits", seeds=0)


def test_frames_have_their_columns_and_kinds_whatever_has_run(bench: Bench) -> None:
    frame = bench.compare(["devise:epochs=2", "eszsl"], dataset="digits", seeds=1).frame()
    assert frame["param_epochs"].dtype == "Int64" and frame["param_clip_each"].dtype == "boolean"
    assert frame["param_lam"].dtype == frame["ausuc"].dtype == float
    before = ["method", "dataset", "features", "pretraining", "semantics", "scale", "semantics_scale", "seed"]
    assert list(frame.columns[:10]) == [*before, "acc_uu", "acc_ut"]
    nothing = bench.compare("sae", dataset="digits", seeds=1, existing="only-cached")
    assert len(nothing.frame()) == 0 and list(nothing.frame().columns[:4]) == list(frame.columns[:4])
    assert nothing.summary()["method"].tolist() == ["sae"] and "best of its column" not in repr(nothing)


def test_a_summary_has_what_belongs_to_a_metric_side_by_side(bench: Bench) -> None:
    columns = list(bench.compare(["eszsl", "sae"], dataset="digits", seeds=1).summary().columns)
    assert columns[:12] == [
        "method",
        "dataset",
        "features",
        "pretraining",
        "semantics",
        "scale",
        "semantics_scale",
        "seeds",
        *(f"acc_uu{p}" for p in ("", "_std", "_low", "_high")),
    ]
    first = columns.index("ausuc")
    assert columns[first : first + 5] == [f"ausuc{part}" for part in ("", "_std", "_low", "_high", "_group")]


def test_a_search_prints_what_it_chose_and_gives_its_trials(bench: Bench) -> None:
    [search] = bench.tune("sae", dataset="digits", folds=2)
    best = search.best
    assert repr(search) == (
        f"Search(sae on digits, grid of 42 trials, ausuc, 2 folds: best {best.value:.4f} with "
        f"scale={best.params['scale']} lam={best.params['lam']:.4g} direction={best.params['direction']})"
    )
    trials = search.frame()
    assert list(trials.columns)[:6] == ["param_scale", "param_lam", "param_direction", "ausuc", "fold_0", "fold_1"]
    assert len(trials) == 42 and trials.loc[trials["ausuc"].idxmax(), "param_lam"] == search.tuned["lam"]
    assert np.allclose(trials[["fold_0", "fold_1"]].mean(axis=1), trials["ausuc"])


def test_objects_print_in_a_line() -> None:
    assert (
        repr(toy_data()).startswith("ZSLData(toy: ") and "unseen; " in repr(toy_data()) and len(repr(toy_data())) < 200
    )
    assert repr(Bench(store="runs", on_event=None)).startswith("Bench(store='runs'")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"sedes": 2}, "'sedes' is no option, .*; did you mean 'seeds'"),
        ({"tunde": True}, "did you mean 'tuned'"),
        ({"datasets": "digits"}, "did you mean 'dataset'"),
        ({"root": "data"}, "did you mean 'data_root'"),
        ({"stor": "runs"}, "did you mean 'store'"),
        ({"seeds": "3"}, "seeds='3': give how many"),
        ({"seeds": 1.5}, "seeds=1.5: give how many"),
        ({"seeds": [0, -1]}, "give how many"),
        ({"dataset": 3}, "dataset=3: give names"),
        ({"methods": []}, "no method is named"),
        ({"methods": object}, "give a name, a file, a subclass of Embedder"),
        ({"methods": ["eszsl", 3]}, "method 3: give a name"),
        ({"metrics": "ausc"}, "did you mean 'ausuc'"),
    ],
)
def test_what_is_misspelt_is_said_before_anything_runs(
    bench: Bench, events: list[Event], wrong: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        bench.compare(**({"methods": "eszsl", "dataset": "digits"} | wrong))
    assert not events


def test_tuning_has_no_seeds(bench: Bench) -> None:
    with pytest.raises(UsageError, match="'seeds' is no option"):
        bench.tune("sae", dataset="digits", seeds=3)


@pytest.mark.parametrize("space", ["gamma=0.1,1", ["gamma=0.1,1"], {"gamma": [0.1, 1]}, {"gamma": "0.1,1"}])
def test_a_search_space_is_a_text_several_or_a_mapping(bench: Bench, space: Any) -> None:
    [search] = bench.tune("eszsl", dataset="digits", folds=1, search=space, lam=1.0, scale="l2")
    assert [trial.params["gamma"] for trial in search.trials] == [0.1, 1.0]


def test_a_tuple_is_a_range_of_a_search(bench: Bench) -> None:
    [search] = bench.tune("eszsl", dataset="digits", folds=1, search={"gamma": (0.1, 1)}, lam=1.0)
    assert (search.space["gamma"].low, search.space["gamma"].high) == (0.1, 1.0)


def test_help_names_every_option() -> None:
    options = (Request.model_fields.keys() - {"root"}) | inspect.signature(Bench).parameters.keys()
    for function in (zslbench.compare, Bench.compare):
        text = f"{inspect.signature(function)} {inspect.getdoc(function)}"
        own = options if function is zslbench.compare else options - inspect.signature(Bench).parameters.keys()
        assert not [name for name in own if not re.search(rf"\b{name}\b", text)]
    assert re.search(r"\bmetric\b.*\bfolds\b.*\btrials\b", inspect.getdoc(zslbench.tune) or "")
