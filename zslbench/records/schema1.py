"""What the first version stored, whose runs were identified by their evaluators too: schema 1, read, never written.

It has no checksums. So a store is looked through once: whatever stands the checks of `verify` is listed with the hash
of its file, and from then on nothing without a checksum is read but what is listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from zslbench.discovery.plugins import registry
from zslbench.errors import DataError
from zslbench.files import Unsealed, seal, write_whole
from zslbench.records.record import RunRecord
from zslbench.records.sealed import unseal
from zslbench.records.search import Search
from zslbench.records.spec import SCHEMA, RunSpec

LIST = "schema-1.json"


class OldSpec(RunSpec):
    """The identity that runs had."""

    schema_version: int = 1
    evaluators: dict[str, int]


class Older(BaseModel):
    """What a store has of schema 1.

    Attributes:
        ids: of runs, by the ids that they have now; those that differed in evaluators alone are one now, and the first
            was measured by most.
        files: hashes of records and logs, by the id of the run or search.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: dict[str, list[str]]
    files: dict[str, str]

    @classmethod
    def of(cls, root: Path) -> Older:
        """Returns the list of a store, made if there is none; one that cannot be written is looked through each time.

        What is left out has no checksum and does not stand the checks, so that whoever reads it sets it aside.
        """
        if not (root / "runs").is_dir():
            return cls(ids={}, files={})
        with suppress(OSError, ValueError):
            return cls.model_validate_json(unseal((root / LIST).read_bytes()))
        found: dict[str, dict[str, int]] = {}
        files = {}
        for path, content in _unsealed(root.glob("runs/*/record.json")):
            with suppress(Exception):  # damaged files make readers raise a dozen kinds
                record = checked(path, content)
                found.setdefault(record.id, {})[path.parent.name] = len(record.measured)
                files[path.parent.name] = _hash(content)
        for path, content in _unsealed(root.glob("tuned/*.json")):
            with suppress(Exception):
                search = Search.model_validate_json(content)
                if search.id == path.stem and search.model_dump(mode="json", exclude_unset=True) == json.loads(content):
                    files[path.stem] = _hash(content)
        older = cls(ids={new: sorted(own, key=lambda old: -own[old]) for new, own in found.items()}, files=files)
        with suppress(DataError):
            write_whole(root / LIST, seal(older.model_dump(mode="json")))
        return older

    def check(self, name: str, content: bytes) -> None:
        """Raises `Unsealed` where this is no content of a file that is listed under the id of a run or search."""
        if self.files.get(name) != _hash(content):
            raise Unsealed("it has no checksum")


def _unsealed(paths: Iterator[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yields files without a checksum, and their content."""
    for path in sorted(paths):
        with suppress(OSError):
            content = path.read_bytes()
            try:
                unseal(content)
            except Unsealed:
                yield path, content
            except (ValueError, RecursionError):
                continue


def checked(path: Path, content: bytes) -> RunRecord:
    """Returns the record that schema 1 wrote, after every check that can be made; else an error says what is wrong."""
    from zslbench.records.recomputed import check_decisions, check_metrics  # torch, which few stores need for this

    values = json.loads(content)
    if values["id"] != OldSpec.model_validate(values["spec"]).id or values["id"] != path.parent.name:
        raise ValueError("it belongs to another run")
    record = upgraded(values)
    check_metrics(record, check_decisions(path.parent / record.arrays))
    return record


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


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
