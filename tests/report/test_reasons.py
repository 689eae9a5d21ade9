"""Exhibits of variants: their rows, the sentences that answer their questions, and the budgets of their tuning."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from zslbench.api.cards import Exhibit, MethodCard, Variant
from zslbench.records.record import RunRecord
from zslbench.records.search import Search, SearchTrial
from zslbench.report.paper_table import paper_table
from zslbench.runs.row import Row

ONE_EPOCH = Variant("one epoch", {"epochs": 1}, "Does training help?")
OTHER_RATE = Variant("other rate", {"lr": 0.1}, "Is it the learning rate?")
CARD = MethodCard(
    "DeViSE",
    "nobody",
    ablations={"short": ONE_EPOCH},
    controls={"rate": OTHER_RATE},
    exhibits={"table-1": Exhibit("Why.", "table", metrics=("acc_uu",), variants=True)},
)
TABLE = CARD.exhibits_of("devise")["table-1"]
SHORT, ITSELF, RATE = "devise:epochs=1", "devise", "devise:lr=0.1"
SIZES = {0: 4, 6: 5, 7: 9, 8: 2, 9: 14}
"""Images of each class; those below 6 are seen."""
Y = np.repeat(list(SIZES), list(SIZES.values()))
Hits = list[NDArray[np.bool_]]


class Made:
    """Rows whose runs named given test images of unseen classes right; stands for the store that has their arrays."""

    def __init__(self, row: Row, hits: dict[str, Hits]) -> None:
        self._arrays: dict[str, dict[str, Any]] = {}
        self.rows = [self._row(row, label, own) for label, own in hits.items()]

    def arrays(self, record: RunRecord) -> dict[str, Any]:
        return self._arrays[record.id]

    def _row(self, row: Row, label: str, hits: Hits) -> Row:
        assert row.entrant is not None
        records = [self._record(row.records[0], f"{label} {seed}", own) for seed, own in enumerate(hits)]
        entrant = replace(row.entrant, entry=replace(row.entrant.entry, card=CARD))
        return replace(row, label=label, records=records, entrant=entrant)

    def _record(self, record: RunRecord, name: str, hit: NDArray[np.bool_]) -> RunRecord:
        zeros = np.zeros(len(Y), dtype=np.int64)
        self._arrays[name] = {
            **{f"{kind}_{side}": zeros for kind in ("ties", "choice") for side in ("seen", "unseen")},
            **{f"best_{side}": zeros.astype(np.float64) for side in ("seen", "unseen")},
            "ties_unseen": zeros + 1,
            "hit_seen": zeros.astype(bool),
            "hit_unseen": hit,
            "images": np.arange(len(Y)),
            "y": Y,
            "seen": Y < 6,
        }
        return record.model_copy(update={"id": name, "arrays": name, "metrics": {"acc_uu": accuracy(hit)}})


def accuracy(hit: NDArray[np.bool_]) -> float:
    return float(np.mean([hit[c == Y].mean() for c in SIZES if c >= 6]))


def by_hand(a: Hits, b: Hits) -> tuple[float, float, float, float]:
    """The difference, the ends of its interval, and p, by the formulas of the module on significance."""
    parts, freedom = [], []
    for c in (c for c in SIZES if c >= 6):
        apart = [np.mean([h[i] for h in a]) - np.mean([h[i] for h in b]) for i in np.flatnonzero(c == Y)]
        parts.append(float(np.var(apart, ddof=1)) / len(apart) / 4**2)
        freedom.append(len(apart) - 1)
    for side in (a, b):
        if len(side) > 1:
            parts.append(float(np.var([accuracy(h) for h in side], ddof=1)) / len(side))
            freedom.append(len(side) - 1)
    difference = float(np.mean([accuracy(h) for h in a]) - np.mean([accuracy(h) for h in b]))
    error = math.sqrt(sum(parts))
    df = sum(parts) ** 2 / sum(part**2 / free for part, free in zip(parts, freedom, strict=True))
    half = error * float(stats.t.ppf(0.975, df))
    return difference, difference - half, difference + half, 2 * float(stats.t.sf(abs(difference) / error, df))


def drawn(seed: int, *rates: float, seeds: int = 3) -> list[Hits]:
    random = np.random.default_rng(seed)
    return [[random.random(len(Y)) < rate for _ in range(seeds)] for rate in rates]


def lines(made: Made, groups: list[list[Row]] | None = None, exhibit: Exhibit = TABLE) -> list[str]:
    return paper_table(exhibit, groups or [made.rows], made).notes  # type: ignore[arg-type]


def answer(made: Made, question: str, **how: Any) -> str:
    [line] = [line for line in lines(made, **how) if line.startswith(question)]
    return line.removeprefix(f"{question} ")


def figures(text: str) -> list[float]:
    found = re.fullmatch(
        r".*\b(?:by) (\S+) points(?: \(|, )95% interval (\S+) to (\S+), corrected p [=<] ([\d.]+)\)\.", text
    )
    assert found, text
    return [float(word) for word in found.groups()]


def test_an_exhibit_of_variants_has_the_ablations_the_method_and_the_controls_by_their_titles() -> None:
    assert TABLE.methods == (SHORT, ITSELF, RATE)
    assert TABLE.names == {SHORT: "one epoch", ITSELF: "DeViSE", RATE: "other rate"}
    assert replace(CARD, published_as="DeViSE (2013)").exhibits_of("mine")["table-1"].names["mine"] == "DeViSE (2013)"


def test_an_exhibit_without_variants_stays_as_it_is() -> None:
    plain = Exhibit("Two.", "table", ("a", "b"), ("h",))
    assert replace(CARD, exhibits={"table-2": plain}).exhibits_of("devise") == {"table-2": plain}


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_the_paired_test_made_by_hand(rows: list[Row], seed: int) -> None:
    hits = dict(zip((SHORT, ITSELF, RATE), drawn(seed, 0.2, 0.7, 0.6), strict=True))
    made, tests = Made(rows[2], hits), {}
    for a, b in ((ITSELF, SHORT), (ITSELF, RATE), (SHORT, RATE)):
        test = by_hand(hits[a], hits[b])
        tests[a, b] = test if test[0] >= 0 else (-test[0], -test[2], -test[1], test[3])
    ordered = sorted(tests, key=lambda pair: tests[pair][3])
    holm: dict[tuple[str, str], float] = {}
    for times, pair in zip((3, 2, 1), ordered, strict=True):
        holm[pair] = min(1.0, max([times * tests[pair][3], *holm.values()]))
    for variant, label in ((ONE_EPOCH, SHORT), (OTHER_RATE, RATE)):
        text = answer(made, variant.question)
        p = holm[ITSELF, label]
        better, worse = ("DeViSE", variant.title) if by_hand(hits[ITSELF], hits[label])[0] > 0 else (
            variant.title, "DeViSE")  # fmt: skip
        said = f"{better} is better than {worse} by" if p < 0.05 else (
            f"DeViSE and {variant.title} are not told apart ({better} is ahead by")  # fmt: skip
        assert text.startswith(f"digits, U->U: {said} ")
        *shown, shown_p = figures(text)
        assert shown == pytest.approx([100 * value for value in tests[ITSELF, label][:3]], abs=0.0501)
        assert shown_p == pytest.approx(max(p, 0.001), abs=0.000501)


def test_these_draws_give_answers_of_each_kind(rows: list[Row]) -> None:
    found = set()
    for rates in ((0.1, 0.8, 0.8), (0.9, 0.3, 0.3)):
        made = Made(rows[2], dict(zip((SHORT, ITSELF, RATE), drawn(1, *rates), strict=True)))
        found |= {re.sub(r" (by|\().*", "", answer(made, v.question)) for v in (ONE_EPOCH, OTHER_RATE)}
    assert found == {
        "digits, U->U: DeViSE is better than one epoch",
        "digits, U->U: one epoch is better than DeViSE",
        "digits, U->U: DeViSE and other rate are not told apart",
    }


def test_each_data_set_has_its_answer_beside_the_question(rows: list[Row]) -> None:
    made = Made(rows[2], dict(zip((SHORT, ITSELF, RATE), drawn(1, 0.1, 0.8, 0.8), strict=True)))
    others = [replace(row, source="b", dataset_title="Birds") for row in made.rows]
    text = answer(made, "Does training help?", groups=[made.rows, others])
    first, second = text.split(" Birds, ")
    assert first.removeprefix("digits, ") == second


def test_of_one_seed_it_says_that_others_are_not_in_it(rows: list[Row]) -> None:
    hits = dict(zip((SHORT, ITSELF, RATE), drawn(0, 0.2, 0.7, 0.6), strict=True))
    made = Made(rows[2], {**hits, RATE: hits[RATE][:1]})
    assert answer(made, "Is it the learning rate?").endswith(
        "; one seed, so what other seeds would give is not in it)."
    )
    assert "one seed" not in answer(made, "Does training help?")


def test_what_cannot_be_tested_says_why(rows: list[Row]) -> None:
    made = Made(rows[2], dict(zip((SHORT, ITSELF, RATE), drawn(0, 0.2, 0.7, 0.6), strict=True)))
    short, itself, rate = made.rows
    refused = replace(short, records=[], refusal="its tuning failed")
    lacking = replace(rate, records=[record.model_copy(update={"metrics": {}}) for record in rate.records])
    group = [[refused, itself, lacking]]
    assert answer(made, "Does training help?", groups=group) == (
        "digits, U->U: no test of one epoch (one epoch: its tuning failed)."
    )
    assert answer(made, "Is it the learning rate?", groups=group) == (
        "digits, U->U: no test of other rate (U->U of these runs cannot be tested)."
    )
    absent = [[short, replace(itself, records=[]), rate]]
    for question in ("Does training help?", "Is it the learning rate?"):
        assert "(DeViSE: none of its runs is there)." in answer(made, question, groups=absent)


def test_a_table_without_variants_has_no_such_sentence(rows: list[Row]) -> None:
    made = Made(rows[2], dict(zip((SHORT, ITSELF, RATE), drawn(0, 0.2, 0.7, 0.6), strict=True)))
    assert not any("?" in line for line in lines(made, exhibit=replace(TABLE, variants=False)))


def tuned(row: Row, trials: int) -> Row:
    spec = row.runs[0].spec
    search = Search(
        method=spec.method, method_version=1, base={}, dataset=spec.dataset, fingerprint=spec.fingerprint,
        features=spec.features, scale=spec.scale, setting="inductive", precision="32", metric="h", folds=2,
        strategy="tpe", space={}, wanted=trials,
        trials=[SearchTrial(params={}, state="complete", values=[0.5, 0.5])] * trials,
    )  # fmt: skip
    return replace(row, search=search)


def test_the_note_says_how_many_settings_each_row_was_tuned_over(rows: list[Row]) -> None:
    made = Made(rows[2], dict(zip((SHORT, ITSELF, RATE), drawn(0, 0.2, 0.7, 0.6), strict=True)))
    assert not any("trial" in line for line in lines(made))
    alike = [[tuned(row, 16) for row in made.rows]]
    assert "Every row is tuned by H on 2 folds, 16 trials each." in lines(made, alike)
    short, itself, rate = made.rows
    assert (
        "warning: these rows were not tuned over the same number of settings "
        "(one epoch: nothing left to search; DeViSE: 16 trials; other rate: 1 trial)."
    ) in lines(made, [[short, tuned(itself, 16), tuned(rate, 1)]])
