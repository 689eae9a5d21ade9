"""Writes an imported data set in the layout of the GBU release: a folder that is whole or absent."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from zslbench.api.cards import DatasetCard, Pretraining
from zslbench.api.dataset import array_fingerprint
from zslbench.data.arrayfile import split_name
from zslbench.data.digests import file_digest
from zslbench.data.foldercard import write_card
from zslbench.data.matfile import Variables, made_from, write_mat
from zslbench.data.pretraining import tell_pretraining, told_pretraining
from zslbench.data.xlsa17 import SPLITS
from zslbench.errors import DataError, UsageError
from zslbench.files import is_clutter, reading, whole_folder, write_whole
from zslbench.preparation.importing import Imported, Sources

LISTS = ("trainclasses*.txt", "valclasses*.txt")


def write(folder: Path, imported: Imported, sources: Sources, pretraining: Pretraining | None = None) -> bool:
    """Writes the data set, unless it is there.

    Args:
        folder: where to.
        imported: the data set.
        sources: where it comes from, for the card, and for the lists of validation classes beside its split.
        pretraining: what the network behind the features was trained on, if it is known.

    Returns:
        False if there was nothing to do.

    Raises:
        UsageError: the folder holds something else.
        DataError: files cannot be written.
    """
    source = {"imported": _identity(imported, sources)}
    features = imported.data.features_name
    if _is_made(folder, features, source):
        if pretraining is None or told_pretraining(folder).get(features) == pretraining:
            return False
        tell_pretraining(folder, features, pretraining)
        return True
    with whole_folder(folder) as part:
        _write_features(part, imported, source)
        for path in _lists(sources):
            with reading(path):
                content = path.read_bytes()
            write_whole(part / path.name, content)
        if pretraining is not None:
            tell_pretraining(part, features, pretraining)
        _write_card(part, folder.name, imported, sources)
        _write_split(part, imported, source)
    return True


def named_files(sources: Sources) -> list[Path]:
    """Returns the files that a user named, each once."""
    further = [] if sources.splits is None else [sources.splits]
    further += [split_name(text)[0] for text in (sources.labels, sources.semantics) if text]
    return list(dict.fromkeys([*sources.files, *further]))


def _is_made(folder: Path, features: str, source: dict[str, str]) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UsageError(f"--as {folder}: it is a file; give another name")
    there = [path for path in folder.iterdir() if not is_clutter(path.name)]
    files = [folder / f"{name}.mat" for name in (features, SPLITS)]
    try:
        if there and all(path.is_file() and made_from(path) == source for path in files):
            return True
    except DataError as error:
        raise UsageError(
            f"--as {folder}: what is there is damaged; remove it, or give another name ({error})"
        ) from error
    if there:
        raise UsageError(f"--as {folder}: something else is there; give another name, or remove it")
    return False


def _identity(imported: Imported, sources: Sources) -> str:
    """Returns a hash of all that is written but the card."""
    data, digest = imported.data, hashlib.sha256()
    digest.update(f"{data.fingerprint} {data.features_name} {data.class_names} {data.attribute_names}".encode())
    digest.update(repr(imported.image_files).encode())
    digest.update(b"" if imported.original is None else array_fingerprint(imported.original).encode())
    for name, rows in sorted(imported.parts.items()):
        digest.update(f"{name} {array_fingerprint(rows)}".encode())
    for path in _lists(sources):
        digest.update(f"{path.name} {file_digest(path)}".encode())
    return digest.hexdigest()


def _lists(sources: Sources) -> Sequence[Path]:
    """Returns the lists of validation classes beside a split file: they belong to it."""
    if sources.splits is None:
        return ()
    return sorted(path for pattern in LISTS for path in sources.splits.parent.glob(pattern))


def _write_features(folder: Path, imported: Imported, source: dict[str, str]) -> None:
    data = imported.data
    assert data.features is not None
    variables: Variables = {"labels": (data.labels + 1.0)[:, None]}
    if imported.image_files:
        variables["image_files"] = list(imported.image_files)
    write_mat(folder / f"{data.features_name}.mat", variables, {"features": data.features}, source)


def _write_split(folder: Path, imported: Imported, source: dict[str, str]) -> None:
    data = imported.data
    variables: Variables = {"allclasses_names": list(data.class_names), "att": data.semantics.T}
    if imported.original is not None:
        variables["original_att"] = imported.original.T
    if data.attribute_names:
        variables["attribute_names"] = list(data.attribute_names)
    variables |= {name: (rows + 1.0)[:, None] for name, rows in imported.parts.items()}
    write_mat(folder / f"{SPLITS}.mat", variables, source=source)


def _write_card(folder: Path, title: str, imported: Imported, sources: Sources) -> None:
    data = imported.data
    card = DatasetCard(
        title=title,
        citation="",
        licence="",
        summary=f"{len(data.labels)} images of {len(data.class_names)} classes, imported from {sources.files[0].name}",
        benchmark=False,
        default_features=data.features_name,
        attributes=data.attributes,
    )
    files = [f"{path.absolute()} sha256 {file_digest(path)}" for path in named_files(sources)]
    write_card(folder, card, {"layout": imported.layout, "files": files, **imported.origin, "notes": imported.notes})
