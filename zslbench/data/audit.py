"""What a careful researcher would check of a data set, its files and its card; findings are reported, not raised."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zslbench.api.cards import DatasetCard, DatasetSizes, Pretraining
from zslbench.api.dataset import Dataset, IntArray, ZSLData
from zslbench.api.soundness import LARGE, NAMED, equal_rows, listed, rare_negatives, same_names
from zslbench.data.cache import feature_rows
from zslbench.data.digests import rehashed
from zslbench.data.imagenet import LABELLED, in_imagenet
from zslbench.data.matentry import DAMAGED, cache_state, entry_of
from zslbench.data.matfile import indices, read_arrays
from zslbench.data.names import shown
from zslbench.data.xlsa17 import PARTS, SPLITS, SplitFile, XLSA17Dataset
from zslbench.errors import DataError

Verdict = Literal["ok", "warn", "fail"]
NORM_TOLERANCE = 1e-3
IN_IMAGENET = "unseen classes that ImageNet-1k has"


@dataclass(frozen=True)
class Finding:
    """One check: what was found, whether that is well, and why it matters if not."""

    check: str
    value: str
    verdict: Verdict = "ok"
    detail: str = ""


def audit(split: SplitFile, labels: IntArray, sizes: DatasetSizes | None = None) -> list[Finding]:
    """Checks labels, class embeddings and split against each other and against the published sizes.

    It works on files that the harness refuses to load: what is out of range is reported and left out of later checks.
    """
    classes = len(split.semantics)
    outside = {name: int((rows >= len(labels)).sum()) for name, rows in split.parts.items()}
    named = ", ".join(name for name, count in outside.items() if count)
    there_are = f"in {named}; there are {len(labels)} images"
    findings = [
        _none("labels out of range", int((labels >= classes).sum()), "fail", f"there are {classes} classes"),
        _none("split indices out of range", sum(outside.values()), "fail", there_are),
        _equal("class names", len(split.class_names), classes, "class embeddings:"),
        _listed("names of several classes", same_names(split.class_names), "fail", "none can be told apart by it"),
    ]
    parts = {name: rows[rows < len(labels)] for name, rows in split.parts.items()}
    findings += _sizes(parts, labels, split.semantics, sizes)
    findings += _roles(parts, labels)
    findings += _tested_classes(parts, labels, split)
    findings += _tuning_lists(parts, labels)
    findings += _embeddings(split.semantics, split.class_names)
    findings += [_missing_codes(split)]
    return findings


def audit_features(
    blocks: Iterable[NDArray[Any]], images: int, parts: dict[str, IntArray] | None = None
) -> list[Finding]:
    """Checks features for their number, NaN, overflow, constants, duplicates, and test images that are in trainval too.

    They are given as blocks of rows `(n, D)`, in order, so that a large file need not fit in memory.
    """
    bad, zero, digests = 0, 0, []
    low = high = np.empty(0)
    for block in blocks:
        bad += int((~np.isfinite(block)).sum())
        zero += int((~block.any(axis=1)).sum())
        digests += [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in np.ascontiguousarray(block)]
        smallest, largest = np.nanmin(block, axis=0, initial=np.inf), np.nanmax(block, axis=0, initial=-np.inf)
        low = np.fmin(low, smallest) if low.size else smallest
        high = np.fmax(high, largest) if high.size else largest
    _, first, image = np.unique(np.array(digests, dtype="S16"), return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[image] != np.arange(len(image)))
    leaked = _test_images_in_trainval(image, parts) if parts else 0
    constant, size = int((low == high).sum()), low.size
    huge = [str(c + 1) for c in np.flatnonzero(np.fmax(np.abs(low), np.abs(high)) > LARGE)]
    useless = "all of them: nothing can be learned from them" if constant == size else "they tell no two images apart"
    return [
        _equal("images with features", len(digests), images, "the labels have"),
        _none("NaN or infinite values in features", bad, "fail", "the harness refuses to load them"),
        _listed("feature dimensions that overflow", huge, "fail", "squares of their values are not finite in float32"),
        _none("constant feature dimensions", constant, "fail" if constant == size else "warn", useless),
        _none("images whose features are all zero", zero, "warn", "they show nothing; were they computed?"),
        _none("duplicate images", len(copies), "warn", "rows of features equal to an earlier row"),
        _none("test images that are also in trainval", leaked, "warn", "equal rows of features"),
    ]


def attribute_variance_cosine(
    labels: IntArray, semantics: NDArray[np.floating], rows_a: IntArray, rows_b: IntArray
) -> float:
    """Returns the cosine between the attribute variances of two sets of images.

    Every image stands for the attribute vector of its class, `(C, A)`; the figure in brackets in the head of Table 1
    of the SP-AEN paper (Chen et al., CVPR 2018) is that of trainval against test_unseen images.
    """
    a, b = (semantics[labels[rows]].astype(np.float64).var(axis=0) for rows in (rows_a, rows_b))
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def describe(card: DatasetCard, data: ZSLData) -> dict[str, str]:
    """Returns the data card as field and value: what it is, whose it is, its sizes, and how far its classes shift."""
    split = data.split
    cosine = attribute_variance_cosine(data.labels, data.semantics, data.train, data.test_unseen)
    fields = {
        "title": card.title,
        "summary": card.summary,
        "citation": card.citation,
        "licence": card.licence,
        "homepage": card.homepage,
        "images": str(len(data.labels)),
        "classes, seen + unseen": f"{len(split.seen)} + {len(split.unseen)}",
        "unseen classes": shown([data.class_names[c] for c in split.unseen]),
        "class embedding size": str(data.semantics.shape[1]),
        "trainval / test_seen / test_unseen": f"{len(data.train)} / {len(data.test_seen)} / {len(data.test_unseen)}",
        "cosine of attribute variances": f"{cosine:.4f} (trainval images against test_unseen images)",
    }
    return {field: value for field, value in fields.items() if value}


def audit_dataset(dataset: Dataset, root: Path, features: str | None = None, splits: str = SPLITS) -> list[Finding]:
    """Audits a data set on disk: split, labels, class embeddings, and features where they are there.

    Raises:
        DataError: split file, labels, or the features asked for cannot be read at all.
    """
    split, labels = _without_features(dataset, root, splits)
    findings = audit(split, labels, dataset.card.sizes) + _audit_images(dataset, root, splits, split.parts)
    findings += _unseen_in_imagenet(split, labels, _pretraining(dataset, root, features))
    if absent := dataset.missing(root, features, splits):
        if features is not None:
            raise DataError(absent)
        return [*findings, Finding("features", "absent", "ok", absent)]
    blocks: Iterable[NDArray[Any]]
    if isinstance(dataset, XLSA17Dataset):
        blocks = _blocks(feature_rows(dataset.features_path(root, features), len(labels)))
    else:
        whole = dataset.load(root, features, splits).features
        blocks = [] if whole is None else [whole]
    findings += _other_lists(dataset, root, features)
    return findings + audit_features(blocks, len(labels), split.parts)


def _pretraining(dataset: Dataset, root: Path, features: str | None) -> Pretraining:
    if isinstance(dataset, XLSA17Dataset):
        return dataset.pretraining(root, features)
    return dataset.load_labels(root).pretraining


def _unseen_in_imagenet(split: SplitFile, labels: IntArray, pretraining: Pretraining) -> list[Finding]:
    """Looks for unseen classes that the network behind the features may have seen; the proposed splits have none."""
    if pretraining == "none":
        return []
    own = set(np.unique(labels[split.parts["trainval_loc"][split.parts["trainval_loc"] < len(labels)]]).tolist())
    found = in_imagenet([name for c, name in enumerate(split.class_names) if c not in own])
    why = f"pretraining {pretraining}: "
    if pretraining in LABELLED:
        return [_listed(IN_IMAGENET, [*map(repr, found)], "warn", f"{why}the network learned them with their labels")]
    why += "it is not known whether the network saw them"
    return [_listed(IN_IMAGENET, [*map(repr, found)], "ok", why)]


def _audit_images(dataset: Dataset, root: Path, splits: str, parts: dict[str, IntArray]) -> list[Finding]:
    """Looks for images of the same content, where image files are there."""
    try:
        copies = dataset.file_images(root, splits).copies(parts) if isinstance(dataset, XLSA17Dataset) else []
    except DataError:  # there are no images, or other checks say what is wrong with their list
        return []
    shared = sum(same.in_several_parts for same in copies)
    return [
        _none("copies of image files", sum(len(same.rows) - 1 for same in copies), "warn", "see `data images`"),
        _none("image files in several parts", shared, "warn", "what is tested on was trained on; see `data images`"),
    ]


def verify_dataset(dataset: Dataset, root: Path) -> list[Finding]:
    """Reads every .mat file of a data set to its end, and what the cache has of it; compares sizes with the card's."""
    if not isinstance(dataset, XLSA17Dataset):
        return [_verify_split(dataset, root, "embedded")]
    if problem := dataset.missing_split(root):
        return [Finding(SPLITS, "missing", "fail", problem)]
    return [
        *(_verify_split(dataset, root, splits) for splits in dataset.split_files(root)),
        *(_verify_file(path) for path in dataset.mat_files(root)),
    ]


def _without_features(dataset: Dataset, root: Path, splits: str) -> tuple[SplitFile, IntArray]:
    if isinstance(dataset, XLSA17Dataset):
        return dataset.read_split(root, splits), dataset.read_labels(root)[0]
    data = dataset.load_labels(root)
    rows = dict(zip(PARTS, (data.train, data.test_seen, data.test_unseen), strict=True))
    return SplitFile(data.semantics, data.class_names, rows), data.labels


def _sizes(
    parts: dict[str, IntArray], labels: IntArray, semantics: NDArray[np.float32], sizes: DatasetSizes | None
) -> list[Finding]:
    trainval, test_seen, test_unseen = (parts[name] for name in PARTS)
    found = {
        "images": len(labels),
        "seen classes": len(np.unique(labels[trainval])),
        "unseen classes": len(np.unique(labels[test_unseen])),
        "class embedding size": semantics.shape[1],
        "trainval": len(trainval),
        "test_seen": len(test_seen),
        "test_unseen": len(test_unseen),
    }
    if sizes is None:
        return [Finding(check, str(size), "ok" if size else "fail") for check, size in found.items()]
    published = astuple(sizes)  # in the same order
    return [_equal(check, size, published[i], "published:") for i, (check, size) in enumerate(found.items())]


def _roles(parts: dict[str, IntArray], labels: IntArray) -> list[Finding]:
    trainval, test_seen, test_unseen = (parts[name] for name in PARTS)
    seen, unseen = np.unique(labels[trainval]), np.unique(labels[test_unseen])
    each = [np.unique(rows) for rows in (trainval, test_seen, test_unseen)]
    times = np.bincount(np.concatenate(each), minlength=len(labels))
    twice = len(trainval) + len(test_seen) + len(test_unseen) - sum(map(len, each))
    astray = np.isin(labels, unseen)
    astray[test_unseen] = False
    elsewhere = np.zeros(len(labels), dtype=bool)
    elsewhere[np.concatenate([trainval, test_seen])] = True
    both, strange = np.intersect1d(seen, unseen), np.setdiff1d(labels[test_seen], seen)
    leaked, left_out = int((astray & elsewhere).sum()), int((astray & ~elsewhere).sum())
    return [
        _none("classes both seen and unseen", len(both), "fail", "they must be disjoint"),
        _none("images of unseen classes in trainval or test_seen", leaked, "fail", "unseen classes must be whole"),
        _none("images of unseen classes left out of test_unseen", left_out, "warn", "unseen classes are not whole"),
        _none("classes of test_seen without training images", len(strange), "fail", "they are not seen"),
        _none("images in several parts", int((times > 1).sum()), "fail", "trainval, test_seen, test_unseen overlap"),
        _none("images twice in one part", twice, "fail", "each would count twice"),
        _none("images in no part", int((times == 0).sum()), "warn", "they are used for nothing"),
    ]


def _other_lists(dataset: Dataset, root: Path, features: str | None) -> list[Finding]:
    """Compares the labels that lie beside features with those that serve where there are none, and counts names."""
    if not isinstance(dataset, XLSA17Dataset):
        return []
    path, (labels, where), findings = dataset.features_path(root, features), dataset.read_labels(root), []
    own = read_arrays(path, [], ["labels"]).get("labels")
    if own is not None and path != where:
        both = indices(own, f"{path}: labels"), labels
        shorter = min(map(len, both))
        count = int((both[0][:shorter] != both[1][:shorter]).sum()) + abs(len(both[0]) - len(both[1]))
        check = f"labels that differ between {path.name} and {where.name}"
        findings.append(_none(check, count, "fail", "one of them is wrong"))
    with suppress(DataError):  # no file names images
        findings.append(_equal("names in image_files", len(dataset.image_files(root)), len(labels), "the labels have"))
    return findings


def _tested_classes(parts: dict[str, IntArray], labels: IntArray, split: SplitFile) -> list[Finding]:
    """Looks for classes without test images: per-class accuracy is a mean over the others."""
    trainval, test_seen, test_unseen = (np.unique(labels[parts[name]]) for name in PARTS)
    every, title = np.arange(len(split.semantics)), dict(enumerate(split.class_names))

    def without(check: str, classes: IntArray, detail: str) -> Finding:
        return _listed(check, [repr(title.get(int(c), int(c) + 1)) for c in classes], "warn", detail)

    untested = np.setdiff1d(every, [*trainval, *test_unseen])
    seen = np.setdiff1d(trainval, test_seen)
    stay = "they stay among the classes to choose from; U->U and U->T are means over the others"
    return [
        without("unseen classes without test images", untested, stay),
        without("seen classes without test images", seen, "S->T is a mean over the others"),
    ]


def _tuning_lists(parts: dict[str, IntArray], labels: IntArray) -> list[Finding]:
    """Checks `train_loc` and `val_loc`, on which others tune; the harness cuts its folds from trainval itself."""
    if not {"train_loc", "val_loc"} <= parts.keys():
        return [Finding("train_loc and val_loc", "absent", "ok", "folds are cut from trainval anyway")]
    train, validation = parts["train_loc"], parts["val_loc"]
    shared = np.intersect1d(labels[train], labels[validation])
    every = np.concatenate([parts[name] for name in PARTS])
    strange = np.setdiff1d(np.concatenate([train, validation]), every)

    def within(part: str, otherwise: Verdict) -> Finding:
        counts = [int(np.isin(rows, parts[part]).sum()) for rows in (train, validation)]
        check = f"{part.removesuffix('_loc')} images in train_loc + val_loc"
        return _none(check, sum(counts), otherwise, trap, f"{counts[0]} + {counts[1]}")

    trap = "whoever tunes on train_loc and val_loc trains on test images; zslbench never does"
    return [
        Finding("images in train_loc + val_loc", f"{len(train)} + {len(validation)}"),
        within("test_seen_loc", "warn"),
        within("test_unseen_loc", "fail"),
        _none("images of train_loc + val_loc in no part", len(strange), "warn", "the split does not know them"),
        _none("classes both in train_loc and val_loc", len(shared), "warn", "they cannot validate zero-shot learning"),
    ]


def _embeddings(semantics: NDArray[np.float32], names: tuple[str, ...]) -> list[Finding]:
    bad = int((~np.isfinite(semantics)).sum())
    if bad:
        return [Finding("NaN or infinite values in class embeddings", str(bad), "fail")]
    norms = np.linalg.norm(semantics.astype(np.float64), axis=1)
    normalised = bool(np.abs(norms - 1).max() < NORM_TOLERANCE)
    title = dict(enumerate(names))
    twins = [[repr(title.get(c, c + 1)) for c in group] for group in equal_rows(semantics)]
    copies = sum(len(group) - 1 for group in twins)
    pairs = f"no method can tell them apart: {', '.join(' = '.join(group) for group in twins[:3])}"
    zero = [repr(title.get(int(c), int(c) + 1)) for c in np.flatnonzero(norms == 0)]
    constant = int((np.ptp(semantics, axis=0) == 0).sum())
    huge = int((np.abs(semantics) > LARGE).sum())
    return [
        _none("NaN or infinite values in class embeddings", 0, "fail", ""),
        _none("values of class embeddings that overflow", huge, "fail", "their squares are not finite in float32"),
        _listed("class embeddings of zeros", zero, "fail", "they say nothing of these classes"),
        Finding(
            "norms of class embeddings",
            f"{norms.min():.4f} to {norms.max():.4f}",
            "ok" if normalised else "warn",
            "L2-normalised" if normalised else "not L2-normalised as the release's are",
        ),
        _none("duplicate class embeddings", copies, "fail" if copies == len(norms) - 1 else "warn", pairs),
        _none("constant embedding dimensions", constant, "warn", "they tell no two classes apart"),
    ]


def _missing_codes(split: SplitFile) -> Finding:
    """Looks for codes of missing values, and for what is left of them where embeddings were normalised."""
    found, classes = [], set[int]()
    for name, rows in (("original_att", split.original_semantics), ("att", split.semantics)):
        if rows is not None and rows.ndim == 2 and len(negative := rare_negatives(rows)):
            found.append(f"{len(negative)} in {name}, from {negative.min():.3g}")
            classes |= set(np.flatnonzero((rows < 0).any(axis=1)).tolist())
    if not found:
        return Finding("codes for missing values", "0")
    names = listed([repr(name) for c, name in enumerate(split.class_names) if c in classes], "class", "classes")
    detail = f"no other values are negative, as -1 often is for a missing one; they are taken as numbers: {names}"
    return Finding("codes for missing values", "; ".join(found), "warn", detail)


def _test_images_in_trainval(image: NDArray[np.intp], parts: dict[str, IntArray]) -> int:
    trainval, test_seen, test_unseen = (rows[rows < len(image)] for rows in (parts[name] for name in PARTS))
    return int(np.isin(image[np.concatenate([test_seen, test_unseen])], image[trainval]).sum())


def _none(check: str, count: int, otherwise: Verdict, detail: str, value: str = "") -> Finding:
    value = value or str(count)
    return Finding(check, value, otherwise, detail) if count else Finding(check, value)


def _listed(check: str, found: list[str], otherwise: Verdict, detail: str) -> Finding:
    more = ", ..." if len(found) > NAMED else ""
    return _none(check, len(found), otherwise, detail, f"{len(found)}: {', '.join(found[:NAMED])}{more}" * bool(found))


def _equal(check: str, found: int, expected: int, whose: str) -> Finding:
    return Finding(check, str(found), "ok" if found == expected else "fail", f"{whose} {expected}")


def _verify_split(dataset: Dataset, root: Path, splits: str) -> Finding:
    try:
        if isinstance(dataset, XLSA17Dataset):
            rehashed(dataset.split_path(root, splits))
        split, labels = _without_features(dataset, root, splits)
        return _summary(splits, audit(split, labels, dataset.card.sizes), "whole")
    except DataError as error:
        return Finding(splits, "unusable", "fail", str(error))


def _verify_file(path: Path) -> Finding:
    try:
        rehashed(path)
        state = "whole" if cache_state(path) != DAMAGED else "whole; in the cache it was damaged, and is made again"
        if "features" not in entry_of(path).variables:
            return Finding(path.stem, state)
        rows = feature_rows(path)
        return _summary(path.stem, audit_features(_blocks(rows), len(rows)), state)
    except DataError as error:
        return Finding(path.stem, "unusable", "fail", str(error))


def _blocks(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    return (rows[start : start + 4096] for start in range(0, len(rows), 4096))


def _summary(check: str, findings: list[Finding], good: str) -> Finding:
    """Returns one finding for many: what failed, if anything did."""
    failed = [f"{found.check}: {found.value} ({found.detail})" for found in findings if found.verdict == "fail"]
    return Finding(check, "wrong", "fail", "; ".join(failed)) if failed else Finding(check, good)
