"""Scores made elsewhere, measured by the same evaluators and kept as records marked external."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Literal

from zslbench.api.cards import Pretraining, Setting
from zslbench.api.dataset import Fold, ZSLData
from zslbench.data.scorefile import ScoreFile
from zslbench.errors import UsageError, near_misses
from zslbench.evaluation.measuring import REPLICATES, VALIDATION, Measurement, stored_decisions
from zslbench.evaluation.scorers import MatrixScorer
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store
from zslbench.runs.measure import Arrays, asked, record_of
from zslbench.runs.provenance import environment
from zslbench.runs.row import Row

PREFIX = "external:"


def evaluate_scores(
    file: ScoreFile,
    data: ZSLData,
    name: str,
    setting: Setting | Literal["unknown"],
    validation: ScoreFile | None = None,
    also: Collection[str] = (),
    pretraining: Pretraining = "unknown",
) -> tuple[RunRecord, Arrays]:
    """Returns a record, and the decisions to be stored beside it.

    `validation` are scores of the first validation fold, on which runs of built-in methods choose gamma too. Without
    them, evaluators that choose something on validation classes are left out. `also` names the evaluators wanted that
    measure on request alone.
    """
    scorer = _scorer(file, data)
    measurement = Measurement(asked("features", validated=validation is not None, also=also))
    digests, arrays, metrics = {"sha256": file.sha256}, {}, {}
    if validation is not None:
        on_validation = _scorer(validation, data, fold=0)
        metrics = measurement.prepare(on_validation)
        arrays = stored_decisions(on_validation, VALIDATION)[0]
        digests["validation_sha256"] = validation.sha256
    found = measurement.measure(scorer, REPLICATES)
    spec = RunSpec(
        method=PREFIX + name,
        method_version=1,
        params=digests,
        dataset=data.name,
        fingerprint=data.fingerprint,
        features="",
        scale="none",
        setting=setting,
        seed=0,
    )
    origin = {"file": str(file.path), "started": datetime.now(UTC).isoformat(timespec="seconds")}
    origin |= {"pretraining": pretraining}
    origin |= {} if validation is None else {"validation": str(validation.path)}
    how = {"params": spec.params, "params_from": "external scores", "provenance": environment() | origin}
    record, decisions = record_of(spec, scorer, found, validated=validation is not None, validation=metrics, **how)
    return record, decisions | arrays


def _scorer(file: ScoreFile, data: ZSLData, fold: Fold = None) -> MatrixScorer:
    view = data.test_view(fold)
    return MatrixScorer(file.matrix_for(view, data.class_names), view)


def with_scores(rows: list[Row], names: list[str], labels: Mapping[str, ZSLData], store: Store) -> list[Row]:
    """Adds a row for each name, with its prefix, that has stored scores on these data sets, data set by data set."""
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
