"""A whole grid at once gives what single runs give, and what NumPy and SciPy give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searching import METHODS, Ridge, among, configuration, search
from torch import Tensor

from zslbench.api.dataset import ZSLData
from zslbench.api.engine import Listener
from zslbench.api.views import ClassSet
from zslbench.engines.inline import Inline
from zslbench.errors import NotApplicable, RunError, UsageError
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.entrant import Entrant, Run
from zslbench.runs.execute import Setup
from zslbench.runs.memory import Where
from zslbench.runs.request import Request
from zslbench.runs.resolve import resolve
from zslbench.tuning.oracle import oracle

HERE = Where.of("cpu", None)
GRIDS = {
    "eszsl": {"gamma": among(0.01, 10.0), "lam": among(0.001, 1.0)},
    "sae": {"lam": among(0.05, 20.0), "direction": among("f2s", "s2f")},
}


def digits(method: str) -> Entrant:
    """With the scaling and the absolute strengths of the papers' equations."""
    scale = {"eszsl": "none", "sae": "l2"}[method]
    [found] = resolve([f"{method}:relative=false"], ["digits"], Request(root=Path(), scale=scale))
    return found


def nothing(jobs: list[Run]) -> dict[str, RunRecord | Exception]:
    raise AssertionError("a grid of a closed form needs no runs")


@pytest.mark.parametrize("metric", ["ausuc", "h", "acc_uu"])
@pytest.mark.parametrize("method", GRIDS)
def test_each_value_is_that_of_a_run_on_validation_classes(method: str, metric: Any, store: Store) -> None:
    of, records = digits(method), {}
    found = search(store, nothing, of, folds=2, space=GRIDS[method], metric=metric)
    assert len(found.complete) == 4
    jobs = [
        of.run(0, "validation", fold, params={**of.fixed, **trial.params}) for trial in found.trials for fold in (0, 1)
    ]
    listener = Listener(finished=lambda job, record: records.update({job.spec.id: record}))
    Inline().execute(jobs, Setup(store=store.root, device="cpu"), listener)
    values = [value for trial in found.trials for value in trial.values]
    assert values == pytest.approx([records[job.spec.id].metrics[metric] for job in jobs], abs=1e-6)
    assert len(set(values)) > 4, "or the grid says nothing"


def eszsl(x: Any, y: Any, s: Any, gamma: float, lam: float) -> Any:
    signs = np.where(y[:, None] == np.arange(len(s)), 1.0, -1.0)
    left = np.linalg.solve(x.T @ x + gamma * np.eye(x.shape[1]), x.T @ signs @ s)
    v = left @ np.linalg.inv(s.T @ s + lam * np.eye(s.shape[1]))
    return lambda images, classes: images @ v @ classes.T


def sae(x: Any, y: Any, s: Any, lam: float, direction: str) -> Any:
    """The least-norm solution of AW + WB = C, as one large linear system."""
    of_images = s[y].T
    a, b, c = of_images @ of_images.T, lam * x.T @ x, (1 + lam) * of_images @ x
    system = np.kron(np.eye(len(b)), a) + np.kron(b.T, np.eye(len(a)))
    w = np.linalg.lstsq(system, c.T.ravel(), rcond=1e-12)[0].reshape(c.T.shape).T

    def cosines(images: Any, classes: Any) -> Any:
        left, right = (images @ w.T, classes) if direction == "f2s" else (images, classes @ w)
        return unit(left) @ unit(right).T

    return cosines


def unit(rows: Any) -> Any:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def accuracy(data: ZSLData, fold: int, fitted: Any, scale: Any, **params: Any) -> float:
    """Mean over the fold's validation classes of the share of their images given to the right one of them."""
    split = data.split_for(fold)
    x, s = scale(data.features.astype(np.float64)), data.semantics.astype(np.float64)
    y = np.searchsorted(split.seen, data.labels[split.train])
    scores = fitted(x[split.train], y, s[split.seen], **params)(x[split.test_unseen], s[split.unseen])
    right = split.unseen[scores.argmax(axis=1)] == data.labels[split.test_unseen]
    return float(np.mean([right[data.labels[split.test_unseen] == c].mean() for c in split.unseen]))


@pytest.mark.parametrize(("method", "fitted", "scale"), [("eszsl", eszsl, lambda x: x), ("sae", sae, unit)])
def test_the_chosen_point_is_as_good_as_the_equations_of_the_paper_say(
    method: str, fitted: Any, scale: Any, store: Store
) -> None:
    of = digits(method)
    found = search(store, nothing, of, folds=2, space=GRIDS[method], metric="acc_uu")
    values = {
        str(trial.params): [accuracy(of.data, fold, fitted, scale, **trial.params) for fold in (0, 1)]
        for trial in found.trials
    }
    for trial in found.trials:
        assert trial.values == pytest.approx(values[str(trial.params)], abs=1e-6), trial.params
    assert str(found.best.params) == max(values, key=lambda point: np.mean(values[point]))


def test_a_random_basis_and_what_is_found_at_the_end_are_those_of_a_run(run: Any, store: Store) -> None:
    of = configuration("ridge")
    found = search(store, nothing, of, folds=2)
    jobs = [of.run(0, "validation", fold, params=trial.params) for trial in found.trials for fold in (0, 1)]
    records = run(jobs)
    values = [value for trial in found.trials for value in trial.values]
    assert values == pytest.approx([records[job.spec.id].metrics["ausuc"] for job in jobs], abs=1e-6)
    assert len(found.trials) == 7


def test_a_point_that_fails_is_a_failed_trial_with_its_reason(store: Store) -> None:
    found = search(store, nothing, configuration("ridge"), folds=2, space={"weight": among(0.0, 1.0, 9.0)})
    assert [trial.state for trial in found.trials] == ["failed", "complete", "complete"]
    assert found.trials[0].reason == "ValueError: nothing holds it" and found.trials[0].values == []
    assert found.best.params["weight"] > 0


def test_a_grid_that_fails_everywhere_is_an_error(store: Store) -> None:
    with pytest.raises(RunError, match="no trial of ridge on toy was completed; first: ValueError: nothing holds it"):
        search(store, nothing, configuration("ridge"), space={"weight": among(0.0)})


class Gated(Ridge):
    """Cannot choose among unseen classes alone."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        if not classes.seen.any():
            raise NotApplicable("the gate needs seen classes")
        return super().scores(x, classes)


def test_a_metric_that_the_method_does_not_have_is_a_wrong_command(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "gated", Gated)
    with pytest.raises(UsageError) as refused:
        search(store, nothing, configuration("gated"), metric="acc_uu")
    for words in ("method 'gated' cannot be tuned by U->U", "the gate needs seen classes", "--metric"):
        assert words in str(refused.value)
    assert search(store, nothing, configuration("gated")).best.values


@pytest.mark.parametrize("method", ["ridge", "example"])
def test_the_oracle_is_the_best_test_figure_among_the_complete_trials(method: str, run: Any, store: Store) -> None:
    of = configuration(method)
    found = search(store, run, of, trials=5, folds=2)
    best = oracle(of, found, run, HERE)
    jobs = [of.run(0, params={**found.base, **trial.params}) for trial in found.complete]
    outcomes = run(jobs)
    figures = [outcomes[job.spec.id].metrics["ausuc"] for job in jobs]
    assert best == pytest.approx(max(figures), abs=1e-6)
    tuned = figures[found.complete.index(found.best)]
    assert best >= tuned - 1e-6 and max(figures) > min(figures)


def test_an_oracle_without_a_run_is_an_error(store: Store, run: Any) -> None:
    of = configuration()
    found = search(store, run, of, trials=2, folds=1)
    with pytest.raises(RunError, match="no trial of example on toy could be run on all of trainval"):
        oracle(of, found, lambda jobs, status: {job.spec.id: RunError("no") for job in jobs}, HERE)
