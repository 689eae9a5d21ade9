"""Records of stores whose runs were identified by their evaluators too: schema 1, read and never written."""

from __future__ import annotations

from typing import Any

from zslbench.discovery.plugins import registry
from zslbench.records.record import RunRecord
from zslbench.records.spec import SCHEMA, RunSpec


def upgraded(values: dict[str, Any]) -> RunRecord:
    """Returns the record that schema 1 wrote, under the id that its training has now, or raises a ValueError."""
    old = dict(values["spec"])
    evaluators = old.pop("evaluators")
    if old.get("input") == "images":  # a method that had a second form for images is two methods now
        cards = {entry.name: entry.card for entry in registry().entries("method")}
        card = cards.get(old["method"])
        old["method"] = (card and card.for_images) or old["method"]
    spec = RunSpec.model_validate({**old, "schema_version": SCHEMA})
    return RunRecord.model_validate(
        {
            **values,
            "id": spec.id,
            "spec": spec,
            "measured": evaluators,
            "validated": bool(values.get("validation")),
            "no_conventional": values.get("not_applicable", {}).get("zsl", ""),
        }
    )
