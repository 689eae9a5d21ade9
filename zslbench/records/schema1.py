"""Records of stores whose runs were identified by their evaluators too: schema 1, read and never written."""

from __future__ import annotations

from typing import Any

from zslbench.discovery.plugins import registry
from zslbench.records.record import RunRecord
from zslbench.records.spec import SCHEMA, RunSpec


def upgraded(values: dict[str, Any]) -> RunRecord:
    """Returns the record that schema 1 wrote, under the id that its training has now.

    A method that had a second form for images was one name; the form is a method of its own now.

    Raises:
        ValueError: it is no such record.
    """
    old = dict(values["spec"])
    evaluators = old.pop("evaluators")
    if old.get("input") == "images":
        old["method"] = _on_images(old["method"])
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


def _on_images(method: str) -> str:
    entries = {entry.name: entry.card for entry in registry().entries("method")}
    counterpart: str = entries[method].for_images if method in entries else ""
    return counterpart or method
