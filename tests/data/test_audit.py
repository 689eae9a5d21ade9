"""The audit: the published figures on the real files, and every kind of damage found on made-up ones."""

from __future__ import annotations

import numpy as np
import pytest

from zslbench import DatasetSizes, XLSA17Dataset
from zslbench.data.audit import Finding, attribute_variance_cosine, audit, audit_dataset, audit_features, verify_dataset
from zslbench.data.cache import feature_rows
from zslbench.errors import DataError
from zslbench_datasets import gbu

TUNING = "images in train_loc + val_loc"
LEAKED = "test_seen images in train_loc + val_loc"
V2 = {  # v2's train + val and v1's leaked images, from the README of the real data
    "SUN": ("9280 + 1040", "2320 + 260"),
    "CUB": ("4702 + 2355", "1173 + 591"),
    "AWA1": ("13460 + 6372", "3404 + 1554"),
    "AWA2": ("16187 + 7340", "4031 + 1851"),
    "APY": ("4906 + 1026", "1180 + 303"),
    "FLO": ("4705 + 926", "1173 + 230"),
}


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {found.check: found for found in findings}


def audited(dataset: XLSA17Dataset, root, splits="att_splits") -> dict[str, Finding]:
    return by_check(audit(dataset.read_split(root, splits), dataset.read_labels(root)[0], dataset.card.sizes))


def known(name: str) -> set[str]:
    """What is doubtful in the release itself: four attributes of AWA are missing, which is said by -1."""
    return {"codes for missing values"} if name in ("AWA1", "AWA2") else set()


@pytest.mark.parametrize("name", ["AWA1", "AWA2"])
def test_the_missing_attributes_of_awa_are_counted(real_data, name):
    found = audited(getattr(gbu, name), real_data)["codes for missing values"]
    assert found.value.startswith("4 in original_att, from -1; 4 in att, from -0.00375")
    assert "class " in found.detail


def test_constant_features_and_embeddings_fail(make_xlsa17, tmp_path):
    found = audit_of(make_xlsa17, tmp_path, lambda files: files["res101"].update(features=np.ones((12, 110))))
    assert (found["constant feature dimensions"].value, found["constant feature dimensions"].verdict) == ("12", "fail")
    found = audit_of(make_xlsa17, tmp_path, lambda files: files["att_splits"].update(att=np.ones((6, 11))))
    assert (found["duplicate class embeddings"].value, found["duplicate class embeddings"].verdict) == ("10", "fail")


@pytest.mark.parametrize("name", V2)
def test_the_second_version_of_the_real_split_is_clean(real_data, name):
    found = audited(getattr(gbu, name), real_data)
    assert found[TUNING].value == V2[name][0]
    assert found[LEAKED].value == "0 + 0"
    assert {check for check, finding in found.items() if finding.verdict != "ok"} == known(name)


@pytest.mark.parametrize("name", V2)
def test_the_first_version_of_the_real_split_warns_of_test_images_to_tune_on(real_data, name):
    found = audited(getattr(gbu, name), real_data, "att_splits_v1")
    assert found[LEAKED].value == V2[name][1]
    assert {check for check, finding in found.items() if finding.verdict != "ok"} == {LEAKED} | known(name)
    assert found[LEAKED].verdict == "warn"


@pytest.mark.parametrize(("name", "cosine"), [("SUN", 0.9851), ("CUB", 0.9575), ("AWA2", 0.7459), ("APY", 0.5847)])
def test_the_cosine_of_attribute_variances_is_the_papers(real_data, name, cosine):
    data = getattr(gbu, name).load_labels(real_data)
    found = attribute_variance_cosine(data.labels, data.semantics, data.train, data.test_unseen)
    assert round(found, 4) == cosine


def test_the_cosine_of_attribute_variances_by_hand():
    semantics = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    labels = np.array([0, 1, 2, 3])
    # classes 0 and 1 vary in the first attribute alone; all four in both alike: cos((1, 0), (1, 1)) = 1 / sqrt(2)
    assert attribute_variance_cosine(labels, semantics, np.array([0, 1]), np.arange(4)) == pytest.approx(0.5**0.5)


def test_awa1s_real_features_have_one_test_image_in_trainval(real_data):
    """Found independently with numpy.unique over the rows of the file."""
    path = real_data / "AWA1" / "bow512.mat"
    found = by_check(audit_features([feature_rows(path)], 30475, gbu.AWA1.read_split(real_data).parts))
    assert found["duplicate images"].value == "1"
    assert found["test images that are also in trainval"].value == "1"
    assert found["NaN or infinite values in features"].verdict == "ok"
    assert found["constant feature dimensions"].value == "0"


def move(splits, count: int, source: str, target: str) -> None:
    splits[target] = np.vstack([splits[target], splits[source][:count]])
    splits[source] = splits[source][count:]


DAMAGE = {
    "labels out of range": (lambda s, x: x["labels"].__setitem__((slice(0, 3), 0), 99), "3", "fail"),
    "split indices out of range": (lambda s, x: s["test_seen_loc"].__setitem__((0, 0), 999), "1", "fail"),
    "names of several classes": (
        lambda s, x: s["allclasses_names"].__setitem__(4, s["allclasses_names"][2]),
        "1: '009.class' (classes 3 and 5)", "fail",
    ),
    "images twice in one part": (
        lambda s, x: s.update(test_seen_loc=np.vstack([s["test_seen_loc"], s["test_seen_loc"][:2]])), "2", "fail",
    ),
    "unseen classes without test images": (
        lambda s, x: s.update(test_unseen_loc=s["test_unseen_loc"][10:]), "1: '010.class'", "warn",
    ),
    "seen classes without test images": (
        lambda s, x: s.update(test_seen_loc=s["test_seen_loc"][4:]), "2: '011.class', '009.class'", "warn",
    ),
    "images of train_loc + val_loc in no part": (
        lambda s, x: s.update(test_seen_loc=s["test_seen_loc"][1:], val_loc=np.vstack([s["val_loc"], [[5]]])),
        "1", "warn",
    ),
    "class embeddings of zeros": (
        lambda s, x: s["att"].__setitem__((slice(None), 3), 0.0), "1: '008.class'", "fail",
    ),
    "values of class embeddings that overflow": (lambda s, x: s["att"].__setitem__((2, 3), 1e20), "1", "fail"),
    "codes for missing values": (
        lambda s, x: (s["original_att"].__setitem__((2, [3, 4]), -1), s["att"].__setitem__((2, 3), -0.01)),
        "2 in original_att, from -1; 1 in att, from -0.01", "warn",
    ),
    "feature dimensions that overflow": (
        lambda s, x: x["features"].__setitem__(([1, 7], slice(None)), -1e30 + x["features"][[1, 7]]), "2: 2, 8", "fail",
    ),
    "images whose features are all zero": (
        lambda s, x: x["features"].__setitem__((slice(None), 7), 0.0), "1", "warn",
    ),
    "class names": (lambda s, x: s["allclasses_names"].pop(), "10", "fail"),
    "images": (lambda s, x: x.update(labels=x["labels"][:-1]), "109", "fail"),
    "trainval": (lambda s, x: s.update(trainval_loc=s["trainval_loc"][1:]), "63", "fail"),
    "images in no part": (lambda s, x: s.update(trainval_loc=s["trainval_loc"][1:]), "1", "warn"),
    "images in several parts": (
        lambda s, x: s.update(test_seen_loc=np.vstack([s["test_seen_loc"], s["trainval_loc"][:2]])), "2", "fail",
    ),
    "classes both seen and unseen": (
        lambda s, x: move(s, 1, "test_unseen_loc", "trainval_loc"), "1", "fail",
    ),
    "images of unseen classes in trainval or test_seen": (
        lambda s, x: move(s, 2, "test_unseen_loc", "test_seen_loc"), "2", "fail",
    ),
    "images of unseen classes left out of test_unseen": (
        lambda s, x: s.update(test_unseen_loc=s["test_unseen_loc"][4:]), "4", "warn",
    ),
    "classes of test_seen without training images": (
        lambda s, x: move(s, 10, "test_unseen_loc", "test_seen_loc"), "1", "fail",
    ),
    "test_unseen images in train_loc + val_loc": (
        lambda s, x: s.update(val_loc=np.vstack([s["val_loc"], s["test_unseen_loc"][:3]])), "0 + 3", "fail",
    ),
    "classes both in train_loc and val_loc": (
        lambda s, x: s.update(val_loc=np.vstack([s["val_loc"], s["train_loc"][:1]])), "1", "warn",
    ),
    "NaN or infinite values in class embeddings": (lambda s, x: s["att"].__setitem__((0, 0), np.nan), "1", "fail"),
    "norms of class embeddings": (lambda s, x: s.update(att=s["att"] * 2), "2.0000 to 2.0000", "warn"),
    "duplicate class embeddings": (lambda s, x: s["att"].__setitem__((slice(None), 3), s["att"][:, 1]), "1", "warn"),
    "constant embedding dimensions": (lambda s, x: s["att"].__setitem__((2, slice(None)), 0.0), "1", "warn"),
    "images with features": (lambda s, x: x.update(features=x["features"][:, :-1]), "109", "fail"),
    "NaN or infinite values in features": (
        lambda s, x: x["features"].__setitem__((0, slice(0, 2)), [np.nan, np.inf]), "2", "fail",
    ),
    "constant feature dimensions": (lambda s, x: x["features"].__setitem__((4, slice(None)), 1.5), "1", "warn"),
    "duplicate images": (
        lambda s, x: x["features"].__setitem__((slice(None), [7, 8]), x["features"][:, [6, 6]]), "2", "warn",
    ),
}  # fmt: skip
SIZES = DatasetSizes(images=110, seen=8, unseen=3, embedding=6, trainval=64, test_seen=16, test_unseen=30)


def audit_of(make_xlsa17, tmp_path, edit=None) -> dict[str, Finding]:
    dataset = XLSA17Dataset.at(make_xlsa17(edit=edit))
    split, (labels, _) = dataset.read_split(tmp_path), dataset.read_labels(tmp_path)
    features = audit_features([feature_rows(dataset.features_path(tmp_path))], len(labels), split.parts)
    return by_check(audit(split, labels, SIZES) + features)


@pytest.mark.parametrize("check", DAMAGE)
def test_damage_is_found_counted_and_judged(make_xlsa17, tmp_path, check):
    change, value, verdict = DAMAGE[check]
    found = audit_of(make_xlsa17, tmp_path, lambda files: change(files["att_splits"], files["res101"]))
    assert (found[check].value, found[check].verdict) == (value, verdict)


def test_the_undamaged_data_set_passes_every_check(make_xlsa17, tmp_path):
    found = audit_of(make_xlsa17, tmp_path)
    assert set(DAMAGE) <= set(found)
    assert {finding.verdict for finding in found.values()} == {"ok"}


def test_features_are_audited_alike_in_blocks_and_in_one_piece():
    x = np.random.default_rng(0).normal(size=(30, 4))
    x[17], x[:, 2] = x[3], 5.0
    x[9, 0] = np.nan
    whole, blocks = audit_features([x], 30), audit_features([x[:7], x[7:20], x[20:]], 30)
    assert whole == blocks
    assert by_check(whole)["duplicate images"].value == "1"


def test_absent_features_are_said_to_be_absent_unless_they_were_asked_for(make_xlsa17, tmp_path):
    folder = make_xlsa17(features="vit")
    dataset = XLSA17Dataset.at(folder)
    found = by_check(audit_dataset(dataset, tmp_path))
    assert found["features"].value == "absent"
    assert "--features vit" in found["features"].detail
    with pytest.raises(DataError, match=r"bow512\.mat is missing"):
        audit_dataset(dataset, tmp_path, "bow512")


def test_a_list_of_images_that_is_too_short_fails(make_xlsa17, tmp_path):
    folder = make_xlsa17(edit=lambda files: files["res101"]["image_files"].pop())
    found = by_check(audit_dataset(XLSA17Dataset.at(folder), tmp_path))["names in image_files"]
    assert (found.value, found.verdict) == ("109", "fail")


def test_labels_of_the_features_that_are_not_those_of_labels_mat_fail(make_xlsa17, tmp_path):
    def edit(files):
        files["labels"] = {"labels": np.roll(files["res101"]["labels"], 1)}

    found = by_check(audit_dataset(XLSA17Dataset.at(make_xlsa17(edit=edit)), tmp_path))
    check = found["labels that differ between res101.mat and labels.mat"]
    assert (check.value, check.verdict) == ("11", "fail")


def test_verify_names_each_file_that_is_not_whole(make_xlsa17, tmp_path):
    dataset = XLSA17Dataset.at(make_xlsa17())
    assert [(found.check, found.value) for found in verify_dataset(dataset, tmp_path)] == [
        ("att_splits", "whole"),
        ("res101", "whole"),
    ]
    dataset.load(tmp_path)
    assert by_check(verify_dataset(dataset, tmp_path))["res101"].value == "whole"
    (tmp_path / "TOY" / "vit.mat").write_bytes((tmp_path / "TOY" / "res101.mat").read_bytes()[:3000])
    found = by_check(verify_dataset(dataset, tmp_path))
    assert found["vit"].verdict == "fail"
    assert "vit.mat" in found["vit"].detail
    assert found["res101"].verdict == "ok"
