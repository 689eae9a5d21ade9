"""What stores hold, as rows: from records alone, so that neither data sets nor methods need be there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.discovery.plugins import registry
from zslbench.evaluation.measuring import metrics
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.runs.entrant import pairs
from zslbench.runs.row import Row


class Stored:
    """The runs on test images and the searches of several stores; of what two stores have, the first one's count.

    Attributes:
        homes: the store of each run, by id.
        records: of all runs on test images; of scores that were made elsewhere, the latest of each name.
        searches: the logs of all searches.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        """Reads all records and logs; damaged ones are set aside, with a warning."""
        self.homes: dict[str, Store] = {}
        found: dict[str, RunRecord] = {}
        searches: dict[str, Search] = {}
        for store in stores:
            for record in store.records():
                if record.id not in found and record.spec.on == "test":
                    found[record.id], self.homes[record.id] = record, store
            for search in filter(None, map(store.find_search, store.searches())):
                if search.metric in metrics():  # its evaluator may be installed elsewhere alone
                    searches.setdefault(search.id, search)
        self.records = _latest(found.values())
        self.searches = list(searches.values())

    def arrays(self, record: RunRecord) -> dict[str, NDArray[Any]]:
        """Returns the decisions of a run."""
        return self.homes[record.id].arrays(record)

    def rows(self) -> list[Row]:
        """Returns a row for each method with its settings on each data set; its runs differ in their seeds alone.

        Rows of one `source` were tested on the same images of the same data.
        """
        groups: dict[tuple[str, str], list[RunRecord]] = {}
        for record, source in zip(self.records, self._sources(), strict=True):
            groups.setdefault((source, _identity(record)), []).append(record)
        rows = [Row.of_records(_by_seed(own), source, self._search(own[0])) for (source, _), own in groups.items()]
        places = {name: place for place, name in enumerate(registry().names("method"))}
        rows.sort(key=lambda row: (row.source, places.get(row.records[0].spec.method, len(places)), row.label))
        _tell_apart(rows)
        return rows

    def _search(self, record: RunRecord) -> Search | None:
        return next((search for search in self.searches if search.id == record.search), None)

    def _sources(self) -> list[str]:
        """Returns for each record which data it was tested on, so that only what can be compared stands together.

        Features, images and class embeddings of the same test images may be compared; two versions of one of these
        may not.
        """
        versions: dict[tuple[str, ...], list[str]] = {}
        result = []
        for record in self.records:
            spec = record.spec
            images = hashlib.sha256(np.ascontiguousarray(self.arrays(record)["y"]).tobytes()).hexdigest()
            same = (spec.dataset, json.dumps(record.class_names), images)
            own = versions.setdefault((*same, spec.input, spec.features, spec.semantics), [])
            if spec.fingerprint not in own:
                own.append(spec.fingerprint)
            result.append(json.dumps([*same, own.index(spec.fingerprint)]))
        return result


def _latest(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Returns all runs made here and, of scores made elsewhere, the latest of each name on a data set."""
    made, latest = [], dict[tuple[str, str], RunRecord]()
    for record in sorted(records, key=lambda record: str(record.provenance.get("started", ""))):
        if record.external:
            latest[record.spec.method, record.spec.fingerprint] = record
        else:
            made.append(record)
    return [*made, *latest.values()]


def _identity(record: RunRecord) -> str:
    """Returns what the runs of one row have in common: all of their specs but the seed."""
    return json.dumps(record.spec.model_dump(mode="json", exclude={"seed"}), sort_keys=True)


def _by_seed(records: list[RunRecord]) -> list[RunRecord]:
    return sorted(records, key=lambda record: record.spec.seed)


def _tell_apart(rows: list[Row]) -> None:
    """Adds to the names of rows that are called alike, on one data set, what they differ in."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.source, row.label), []).append(row)
    for alike in groups.values():
        specs = [row.records[0].spec.model_dump(mode="json", exclude={"seed"}) for row in alike]
        differ = [name for name in specs[0] if any(spec[name] != specs[0][name] for spec in specs)]
        for row, spec in zip(alike, specs, strict=True):
            own = {name: value for name in differ if name != "params" for value in [spec[name]]}
            own |= spec["params"] if "params" in differ else {}
            row.distinction = f"[{pairs(own) or 'as by default'}]" if differ else ""
            row.label = " ".join(filter(None, [row.label, row.distinction]))
