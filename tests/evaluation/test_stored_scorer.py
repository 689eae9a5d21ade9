"""What is stored of a run answers as the run did, and says what it cannot answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from scored import Scored, scored

from zslbench.api.evaluator import Decisions, Scorer
from zslbench.errors import NeedsScores, NotApplicable
from zslbench.evaluation.evaluators import AUSUC, Calibrated, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.measuring import stored_decisions, stored_scorer, view_of
from zslbench.evaluation.scorers import StoredScorer

FOUR = (ConventionalZSL, GeneralizedZSL, AUSUC, Calibrated)


def metrics(scorer: Scorer) -> dict[str, float]:
    found: dict[str, float] = {}
    for kind in FOUR:
        evaluator = kind()
        evaluator.prepare(scorer)
        found |= evaluator.evaluate(scorer)
    return found


def same(a: Decisions, b: Decisions) -> bool:
    return all(np.array_equal(array, b.arrays()[name]) for name, array in a.arrays().items())


@given(case=scored())
@settings(max_examples=60, deadline=None)
def test_stored_decisions_give_the_metrics_of_live_scores(case: Scored) -> None:
    live = case.scorer
    stored = StoredScorer(live.view, live.generalized)
    assert same(stored.conventional, live.conventional)
    assert metrics(stored) == metrics(live)


@given(case=scored())
@settings(max_examples=20, deadline=None)
def test_the_arrays_and_class_names_of_a_record_are_enough(case: Scored) -> None:
    live = case.scorer
    arrays, reason = stored_decisions(live)
    stored = stored_scorer(arrays, view_of(arrays, live.view.classes.names), reason)
    assert same(stored.generalized, live.generalized)
    assert stored.view.seen.tolist() == live.view.seen.tolist()
    assert stored.view.images.tolist() == live.view.images.tolist()
    assert stored.view.classes.names == live.view.classes.names
    assert metrics(stored) == metrics(live)


def test_decisions_among_unseen_classes_may_be_given_or_refused() -> None:
    live = Scored(np.eye(4), np.arange(4), np.array([True, True, False, False])).scorer
    other = Decisions.of({name: array[:0] for name, array in live.generalized.arrays().items()})
    assert StoredScorer(live.view, live.generalized, other).conventional is other
    gated = StoredScorer(live.view, live.generalized, "the gate needs seen classes")
    with pytest.raises(NotApplicable, match="the gate needs seen classes"):
        ConventionalZSL().evaluate(gated)
    assert GeneralizedZSL().evaluate(gated) == GeneralizedZSL().evaluate(live)


def test_scores_are_gone_and_so_is_the_model() -> None:
    live = Scored(np.eye(2), np.arange(2), np.array([True, False])).scorer
    stored = StoredScorer(live.view, live.generalized)
    assert stored.embedder is None
    with pytest.raises(NeedsScores, match="these runs kept decisions alone"):
        stored.scores(slice(0, 1), np.arange(2))
    with pytest.raises(NotApplicable):
        stored.reconstruct(slice(0, 1))
