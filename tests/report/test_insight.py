"""Looking inside a run: figures against independent calculations, and what is said where something is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import zslbench
from zslbench import Bench, DataError, NotApplicable, Result
from zslbench.report.insight import confused_pairs, hubness, insight_tables, read_outs, unseen_classes

DIGITS = zslbench.load("digits")


@pytest.fixture
def bench(store: Path) -> Bench:
    return Bench(on_event=None, device="cpu")


@pytest.fixture
def result(bench: Bench) -> Result:
    return bench.run("sae", dataset="digits", calibrated=False)[0]


def test_unseen_classes_stand_beside_the_most_similar_seen_class(result: Result) -> None:
    found = unseen_classes(result)
    assert sorted(found.index) == ["2", "4", "5"] and found["images"].sum() == len(DIGITS.test_unseen)
    lit = {name: DIGITS.semantics[c] > 0 for c, name in enumerate(DIGITS.class_names)}
    for name, row in found.iterrows():
        cosines = {
            other: (lit[str(name)] & lit[other]).sum() / np.sqrt(lit[str(name)].sum() * lit[other].sum())
            for other in "0136789"
        }
        assert row["similarity"] == pytest.approx(max(cosines.values()), abs=1e-6)
        assert cosines[row["nearest"]] == pytest.approx(row["similarity"], abs=1e-6)
        assert row["acc_uu"] == result.record.per_class["u->u"][str(name)]
    assert list(found["similarity"]) == sorted(found["similarity"], reverse=True)


def test_confused_pairs_are_those_of_the_confusion_matrix(result: Result) -> None:
    counts, found = result.confusion(), confused_pairs(result)
    wrong = counts.to_numpy().sum() - np.trace(counts.to_numpy())
    assert found["images"].sum() == wrong and (found["class"] != found["given_to"]).all()
    assert list(found["images"]) == sorted(found["images"], reverse=True)
    first = found.iloc[0]
    assert first["images"] == counts.loc[first["class"], first["given_to"]]
    assert first["share"] == pytest.approx(first["images"] / counts.loc[first["class"]].sum())


def test_skewness_is_that_of_the_counts(result: Result) -> None:
    skewness, table = hubness(result)
    decisions = result.decisions()
    counts = np.bincount(decisions.choice(), minlength=10)
    assert skewness == pytest.approx(stats.skew(counts))
    assert table["given"].sum() == len(decisions.y) == table["images"].sum()
    assert set(table.index[table["seen"]]) == set("0136789")


def test_read_outs_are_areas_below_the_roc_curve(result: Result) -> None:
    found = read_outs(result, DIGITS).set_index("attribute")["auc"]
    assert DIGITS.features is not None
    embedded = result.model().embed(DIGITS.features[DIGITS.test_unseen])
    y, strength = DIGITS.labels[DIGITS.test_unseen], DIGITS.semantics[[2, 4, 5]]
    differing = [a for a in range(7) if len(set(strength[:, a].tolist())) > 1]
    assert sorted(found.index) == sorted("abcdefg"[a] for a in differing)
    for a in differing:
        strong = np.isin(y, np.array([2, 4, 5])[strength[:, a] > strength[:, a].mean()])
        above = (embedded[strong, a][:, None] > embedded[~strong, a]).mean()
        assert found["abcdefg"[a]] == pytest.approx(above, abs=1e-3)


def test_what_cannot_be_said_is_a_note_and_the_rest_is_there(bench: Bench) -> None:
    [bare] = Bench(on_event=None, keep_model="never").run("eszsl", dataset="digits", calibrated=False)
    first, *others = insight_tables(bare)
    assert first.notes == [
        f"unseen classes: run {bare.id} kept no model; run it again with --keep-model always --existing rerun"
    ]
    assert len(others) == 2
    [latem] = bench.run("latem:epochs=1", dataset="digits", calibrated=False)
    assert insight_tables(latem, DIGITS)[-1].notes == ["attributes: latem has no embedding of images"]
    with pytest.raises(DataError, match="is not the one that run"):
        read_outs(latem, zslbench.load("shapes"))
    [white] = bench.run("eszsl", dataset="digits", semantics_scale="whiten", calibrated=False)
    if white.model().embed(DIGITS.features[:1]).shape[1] < 7:  # type: ignore[index]
        with pytest.raises(NotApplicable, match="whitened"):
            read_outs(white, DIGITS)
