"""Scores made elsewhere, put through the same evaluators and kept as records marked external."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from numpy.typing import NDArray

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.data.scorefile import ScoreFile
from zslbench.evaluation.measuring import REPLICATES, Measurement, per_class, stored_decisions
from zslbench.evaluation.scorers import MatrixScorer
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.runs.measure import asked
from zslbench.runs.provenance import environment

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
