"""Audits a data set where it lies, and verifies that its files can be read to the end and are cached."""

from __future__ import annotations

from pathlib import Path

from zslbench.api.dataset import Dataset
from zslbench.data.audit import Finding, audit, audit_features, split_of
from zslbench.data.cache import cache_state
from zslbench.data.matfile import column_blocks, read_arrays, variables
from zslbench.data.xlsa17 import SPLITS, XLSA17Dataset
from zslbench.errors import DataError


def audit_dataset(dataset: Dataset, root: Path, features: str | None = None, splits: str = SPLITS) -> list[Finding]:
    """Audits a data set on disk: split, labels, class embeddings, and features where they are there.

    Raises:
        DataError: split file, labels, or the features asked for cannot be read at all.
    """
    if not isinstance(dataset, XLSA17Dataset):
        data = dataset.load(root, features, splits)
        split = split_of(data)
        findings = audit(split, data.labels, dataset.card.sizes)
        blocks = [] if data.features is None else [data.features]
        return findings + audit_features(blocks, len(data.labels), split.parts) if blocks else findings
    if problem := dataset.missing_split(root, splits):
        raise DataError(problem)
    split = dataset.read_split(root, splits)
    labels, _ = dataset.read_labels(root)
    findings = audit(split, labels, dataset.card.sizes)
    if absent := dataset.missing(root, features, splits):
        if features is not None:
            raise DataError(absent)
        return [*findings, Finding("features", "absent", "ok", absent)]
    path = dataset.features_path(root, features)
    return findings + audit_features(column_blocks(path, "features"), len(labels), split.parts)


def verify_dataset(dataset: Dataset, root: Path) -> list[Finding]:
    """Reads every .mat file of a data set to its end, compares sizes with the card's, and looks into the cache."""
    if not isinstance(dataset, XLSA17Dataset):
        data = dataset.load_labels(root)
        return [_summary("embedded", audit(split_of(data), data.labels, dataset.card.sizes), "whole")]
    if problem := dataset.missing_split(root):
        return [Finding(SPLITS, "missing", "fail", problem)]
    return [
        *(_verify_split(dataset, root, splits) for splits in dataset.split_files(root)),
        *(_verify_file(path) for path in dataset.mat_files(root)),
    ]


def _verify_split(dataset: XLSA17Dataset, root: Path, splits: str) -> Finding:
    try:
        split, (labels, _) = dataset.read_split(root, splits), dataset.read_labels(root)
        return _summary(splits, audit(split, labels, dataset.card.sizes), "whole")
    except DataError as error:
        return Finding(splits, "unusable", "fail", str(error))


def _verify_file(path: Path) -> Finding:
    try:
        shape = variables(path).get("features")
        if shape is None:
            read_arrays(path, [], ["labels"])
            return Finding(path.stem, "whole")
        found = audit_features(column_blocks(path, "features"), shape[-1])
        return _summary(path.stem, found, f"whole, {cache_state(path)}")
    except DataError as error:
        return Finding(path.stem, "unusable", "fail", str(error))


def _summary(check: str, findings: list[Finding], good: str) -> Finding:
    """Returns one finding for many: what failed, if anything did."""
    failed = [f"{found.check}: {found.value} ({found.detail})" for found in findings if found.verdict == "fail"]
    return Finding(check, "wrong", "fail", "; ".join(failed)) if failed else Finding(check, good)
