"""The built-in evaluators on real scores, and under resampled images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from scored import Scored, scored

from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.data.catalogue import find_dataset
from zslbench.data.scorefile import read_scores
from zslbench.errors import NotApplicable
from zslbench.evaluation.evaluators import AUSUC, Calibrated, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.measuring import Measurement
from zslbench.evaluation.scorers import MatrixScorer

EVALUATORS = [ConventionalZSL, GeneralizedZSL, AUSUC, Calibrated]

# computed independently in float64, in percent; the last one from the logarithms of the same scores
GOLDEN = {
    "cub_fclswgan": {"acc_uu": 56.110, "acc_ut": 45.079, "acc_st": 55.512, "h": 49.754, "ausuc": 34.476, "log": 34.879},
    "cub_lago": {"acc_uu": 55.900, "acc_ut": 24.555, "acc_st": 64.792, "h": 35.614, "ausuc": 33.150, "log": 33.474},
}


@pytest.fixture
def scores_folder(real_data: Path) -> Path:
    folder = real_data.parent / "scores"
    if not folder.is_dir():
        pytest.skip(f"no score files at {folder}")
    return folder


def real_scorer(path: Path, root: Path) -> MatrixScorer:
    data = find_dataset("cub").load_labels(root)
    view = data.test_view()
    return MatrixScorer(read_scores(path).matrix_for(view, data.class_names), view)


@pytest.mark.parametrize("name", GOLDEN)
def test_real_scores_of_published_methods_give_the_known_figures(
    name: str, scores_folder: Path, real_data: Path
) -> None:
    scorer = real_scorer(scores_folder / f"{name}.npz", real_data)
    found = Measurement({e.__name__: e for e in EVALUATORS[:3]}).measure(scorer, replicates=100)
    metrics, intervals, not_applicable = found.metrics, found.intervals, found.not_applicable
    golden = {metric: value for metric, value in GOLDEN[name].items() if metric != "log"}
    assert {metric: 100 * value for metric, value in metrics.items()} == pytest.approx(golden, abs=0.0005 + 1e-9)
    assert not not_applicable
    for metric, (low, high) in intervals.items():
        assert low < metrics[metric] < high, metric
        assert 0.005 < high - low < 0.06, metric  # 4731 images: a few points

    with np.errstate(divide="ignore"):
        logarithms = np.log(scorer.matrix.astype(np.float64))
    logarithms[~np.isfinite(logarithms)] = logarithms[np.isfinite(logarithms)].min()
    area = AUSUC().evaluate(MatrixScorer(logarithms, scorer.view))["ausuc"]
    assert 100 * area == pytest.approx(GOLDEN[name]["log"], abs=0.005)


@pytest.mark.parametrize("kind", EVALUATORS)
@given(case=scored())
@settings(max_examples=30, deadline=None)
def test_weights_of_ones_give_the_point_values(kind: type[Evaluator], case: Scored) -> None:
    evaluator = kind()
    evaluator.prepare(case.scorer)
    metrics = evaluator.evaluate(case.scorer)
    assert list(metrics) == [metric.name for metric in kind.metrics]
    resampled = evaluator.resample(case.scorer, np.ones((2, len(case.y))))
    assert {name: values.tolist() for name, values in resampled.items()} == {
        name: pytest.approx([metrics[name]] * 2) for name in resampled
    }
    assert set(metrics) - set(resampled) <= {"gamma"}  # what was chosen on validation has no interval


def test_intervals_narrow_with_the_square_root_of_the_images() -> None:
    widths = []
    for copies in (1, 16):
        y = np.repeat([0, 1, 2, 3], 25 * copies)
        scores = np.zeros((len(y), 4))
        scores[np.arange(len(y)), np.where(np.arange(len(y)) % 2, y, (y + 1) % 4)] = 1.0  # every other image is right
        case = Scored(scores, y, np.array([True, True, False, False]))
        low, high = Measurement({"gzsl": GeneralizedZSL}).measure(case.scorer, replicates=500).intervals["acc_ut"]
        widths.append(high - low)
    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 50), rel=0.25)
    assert widths[0] / widths[1] == pytest.approx(4, rel=0.25)


def test_an_evaluator_that_does_not_apply_gives_its_reason_and_costs_the_others_nothing() -> None:
    class Inapplicable(Evaluator):
        metrics = (Metric("never", "never"),)

        def evaluate(self, scorer: Scorer) -> dict[str, float]:
            raise NotApplicable("by its nature")

    case = Scored(np.eye(2), np.array([0, 1]), np.array([True, False]))
    found = Measurement({"odd": Inapplicable, "zsl": ConventionalZSL}).measure(case.scorer, 50)
    metrics, intervals, not_applicable = found.metrics, found.intervals, found.not_applicable
    assert metrics == {"acc_uu": 1.0} and intervals == {"acc_uu": (1.0, 1.0)}
    assert not_applicable == {"odd": "by its nature"}
