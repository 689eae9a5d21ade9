"""Scores made elsewhere, put through the same evaluators and kept as records marked external."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.data.scorefile import ScoreFile
from zslbench.errors import UsageError, near_misses
from zslbench.evaluation.measuring import REPLICATES, Measurement
from zslbench.evaluation.scorers import MatrixScorer
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store
from zslbench.runs.measure import Arrays, asked, record_of
from zslbench.runs.provenance import environment
from zslbench.runs.row import Row

PREFIX = "external:"


def evaluate_scores(
    file: ScoreFile, data: ZSLData, name: str, setting: Setting | Literal["unknown"]
) -> tuple[RunRecord, Arrays]:
    """Returns a record, and the decisions to be stored beside it.

    Evaluators that choose something on validation classes are left out: there are no scores to choose on.
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
    origin = {"file": str(file.path), "started": datetime.now(UTC).isoformat(timespec="seconds")}
    how = {"params": spec.params, "params_from": "external scores", "provenance": environment() | origin}
    return record_of(spec, scorer, found, **how)


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
