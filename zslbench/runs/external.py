"""Scores made elsewhere, put through the same evaluators and kept as records marked external."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from numpy.typing import NDArray

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.data.scorefile import ScoreFile
from zslbench.errors import UsageError, near_misses
from zslbench.evaluation.measuring import REPLICATES, Measurement, per_class, stored_decisions
from zslbench.evaluation.scorers import MatrixScorer
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store
from zslbench.runs.measure import asked
from zslbench.runs.provenance import environment
from zslbench.runs.row import Row

PREFIX = "external:"


def evaluate_scores(
    file: ScoreFile, data: ZSLData, name: str, setting: Setting | Literal["unknown"]
) -> tuple[RunRecord, dict[str, NDArray[Any]]]:
    """Returns a record, and the decisions to be stored beside it.

    Evaluators that choose something on validation classes are left out: there are no scores to choose on.

    Raises:
        DataError: the scores do not fit the data set's test images and classes.
    """
    view = data.test_view()
    scorer = MatrixScorer(file.matrix_for(view, data.class_names), view)
    found = Measurement(asked("features", validated=False)).measure(scorer, REPLICATES)
    spec = RunSpec(
        method=PREFIX + name,
        method_version=1,
        params={"sha256": file.sha256},
        dataset=data.name,
        fingerprint=data.fingerprint,
        features="",
        scale="none",
        setting=setting,
        seed=0,
    )
    decisions, no_conventional = stored_decisions(scorer)
    record = RunRecord(
        id=spec.id,
        spec=spec,
        params=spec.params,
        params_from="external scores",
        metrics=found.metrics,
        intervals=found.intervals,
        not_applicable=found.not_applicable,
        measured=found.measured,
        no_conventional=no_conventional,
        class_names=list(view.classes.names),
        per_class=per_class(scorer),
        provenance=environment() | {"file": str(file.path), "started": datetime.now(UTC).isoformat(timespec="seconds")},
    )
    return record, decisions | found.arrays


def with_scores(rows: list[Row], names: list[str], labels: Mapping[str, ZSLData], store: Store) -> list[Row]:
    """Adds a row for each name that has stored scores on these data sets, data set by data set.

    Args:
        rows: of methods.
        names: of scores, with their prefix.
        labels: the data sets as asked for, without features.
        store: where the scores are.

    Raises:
        UsageError: there are none of a name, or none on these data sets.
    """
    stored = [record for record in store.records() if record.external]
    known = {record.spec.method for record in stored}
    for name in names:
        if name not in known:
            near = near_misses(name, known)
            raise UsageError(f"no stored scores {name!r}{near}; `zslbench evaluate --save` stores some")
    result: list[Row] = []
    for source, data in labels.items():
        own = [row for row in rows if row.source == source]
        result += own
        for name in names:
            matching = [r for r in stored if r.spec.method == name and r.spec.fingerprint == data.fingerprint]
            if matching:
                latest = max(matching, key=lambda record: record.provenance.get("started", ""))
                result.append(Row.of_scores(name, source, own[0].dataset if own else source, data.name, latest))
    for name in names:
        if all(row.label != name for row in result):
            where = ", ".join(sorted({record.spec.dataset for record in stored if record.spec.method == name}))
            raise UsageError(f"the scores {name!r} are of {where}, not of {', '.join(labels)}; see --dataset")
    return result
