"""Levels that the trained methods reach on real features, with defaults that were chosen on validation classes.

The bars are those that a separate minibatch implementation set for DeViSE and ALE, less two points of U->U, 29 % of
U->U for other embedding methods on AWA1 (chance: 10 %), and a multiple of chance for the birds.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean

import pytest
from planned import execute, plan

from zslbench.records.record import RunRecord
from zslbench.runs.request import Request


def run(method: str, dataset: str, features: str, root: Path) -> RunRecord:
    [row] = plan([method], [dataset], Request(root=root, features=features))
    return execute(row.runs[0])[0]


@pytest.mark.parametrize("method", ["devise", "ale"])
def test_ranking_methods_reach_the_known_level_on_awa1(method: str, real_data: Path) -> None:
    metrics = run(method, "awa1", "bow512", real_data).metrics
    assert metrics["acc_uu"] >= 0.31
    assert metrics["ausuc"] >= 0.095


@pytest.mark.parametrize("method", ["sje", *(pytest.param(m, marks=pytest.mark.slow) for m in ("latem", "sync"))])
def test_later_embedding_methods_recognise_unseen_animals_thrice_as_often_as_chance(
    method: str, real_data: Path
) -> None:
    assert run(method, "awa1", "bow512", real_data).metrics["acc_uu"] >= 0.29


@pytest.mark.slow
def test_spaen_lifts_the_curve_over_its_classification_only_ablation_on_awa1(real_data: Path) -> None:
    full = run("spaen", "awa1", "bow512", real_data).metrics
    ablation = run("spaen:alpha=0,beta=0", "awa1", "bow512", real_data).metrics
    assert full["ausuc"] >= 0.097
    assert full["ausuc"] > ablation["ausuc"]
    assert full["h_cal"] > ablation["h_cal"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sae", "devise", "ale", "spaen", "sje", "sync"])
def test_defaults_recognise_half_of_the_unseen_birds(method: str, real_data: Path) -> None:
    chance = 0.1
    assert run(method, str(real_data / "CUB50"), "lite0", real_data).metrics["acc_uu"] >= 5 * chance


@pytest.mark.slow
def test_latem_recognises_unseen_birds_four_times_as_often_as_chance(real_data: Path) -> None:
    """It has a bar of its own: its maps start at random, and U->U varies by five points between seeds."""
    chance = 0.1
    [row] = plan(["latem"], [str(real_data / "CUB50")], Request(root=real_data, features="lite0", seeds=(0, 1, 2)))
    assert mean(execute(one)[0].metrics["acc_uu"] for one in row.runs) >= 4 * chance
