"""What features may have seen: who says it, who is believed, and which unseen classes ImageNet has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from outside import inside, store
from synthetic import make_xlsa17

from zslbench import BackboneCard, DatasetCard, XLSA17Dataset, ZSLData
from zslbench.data.audit import IN_IMAGENET, Finding, audit_dataset
from zslbench.data.imagenet import in_imagenet
from zslbench.data.matfile import write_mat
from zslbench.data.pretraining import FILE, tell_pretraining, told_pretraining
from zslbench.errors import DataError, PluginError

__all__ = ["inside", "store"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set with features `res101` of which nobody says anything, and `made`, whose file says something."""
    make_xlsa17(tmp_path, "toy")
    features = np.ones((4, 3), np.float32)
    write_mat(tmp_path / "toy" / "made.mat", {}, {"features": features}, {"pretraining": "self-supervised"})
    return tmp_path / "toy"


def card(**pretraining: str) -> DatasetCard:
    return DatasetCard("toy", "none", "none", pretraining=pretraining)  # type: ignore[arg-type]


def test_the_folder_is_believed_before_the_file_and_the_file_before_the_card(folder: Path) -> None:
    def said(features: str, **of_card: str) -> str:
        return XLSA17Dataset(card(**of_card), folder).pretraining(Path(), features)

    assert said("res101") == "unknown"
    assert said("res101", res101="imagenet-1k") == "imagenet-1k"
    assert said("made", made="imagenet-1k") == "self-supervised"
    tell_pretraining(folder, "made", "web image-text")
    tell_pretraining(folder, "res101", "fine-tuned on seen classes")
    assert said("made", made="imagenet-1k") == "web image-text"
    assert said("res101", res101="imagenet-1k") == "fine-tuned on seen classes"
    assert told_pretraining(folder) == {"made": "web image-text", "res101": "fine-tuned on seen classes"}


def test_it_is_in_the_data_and_not_in_their_fingerprint(folder: Path) -> None:
    before = XLSA17Dataset.at(folder).load(Path(), "res101")
    tell_pretraining(folder, "res101", "imagenet-21k")
    after = XLSA17Dataset.at(folder).load(Path(), "res101")
    assert (before.pretraining, after.pretraining) == ("unknown", "imagenet-21k")
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize("content", ['res101 = "imagenet-2k"', "res101 = 1", "res101"])
def test_a_wrong_file_is_one_line_that_names_it(folder: Path, content: str) -> None:
    (folder / FILE).write_text(content)
    with pytest.raises(DataError, match=FILE) as error:
        XLSA17Dataset.at(folder).load(Path(), "res101")
    assert "\n" not in str(error.value)


def test_a_card_or_data_that_say_something_else_are_refused() -> None:
    with pytest.raises(PluginError, match="did you mean 'imagenet-1k'"):
        BackboneCard("x", "none", pretraining="imagenet-1")  # type: ignore[arg-type]
    with pytest.raises(PluginError, match="features res101: pretraining 'x'"):
        card(res101="x")
    arrays = {"labels": [0, 0, 1, 1], "train": [0], "test_seen": [1], "test_unseen": [2, 3]}
    with pytest.raises(DataError, match="pretraining 'x' is none of none, imagenet-1k"):
        ZSLData.from_arrays(np.eye(4), semantics=np.eye(2), pretraining="x", **arrays)  # type: ignore[arg-type]


def test_the_command_says_and_prints_it(folder: Path, inside) -> None:
    assert inside("data", "pretraining", folder).out.splitlines() == ["made: self-supervised", "res101: unknown"]
    assert "name those that you mean by --features" in inside("data", "pretraining", folder, "none").err
    answer = inside("data", "pretraining", folder, "web image-text", "--features", "res101")
    assert answer.out == "res101: web image-text\n"
    assert inside("data", "pretraining", folder, "--features", "res101").out == "res101: web image-text\n"
    assert "toy/no.mat is missing" in inside("data", "pretraining", folder, "--features", "no").err


def test_classes_are_found_by_the_names_that_imagenet_has_for_them() -> None:
    names = ["polar+bear", "007.Siamese_Cat", "ice bear", "dolphin", "Tinca tinca", "goldfish", "gold"]
    found = in_imagenet(names)
    assert list(found) == ["polar+bear", "007.Siamese_Cat", "ice bear", "Tinca tinca", "goldfish"]
    assert found["polar+bear"] == found["ice bear"] == "ice bear, polar bear, Ursus Maritimus, Thalarctos maritimus"


def test_single_names_of_classes_are_those_of_torchvision() -> None:
    torchvision = pytest.importorskip("torchvision")
    names = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    assert len(in_imagenet(names)) >= 980  # of the others torchvision has changed the name


@pytest.mark.parametrize("name", ["AWA1", "CUB", "SUN", "APY"])
def test_proposed_splits_avoid_imagenet_and_their_seen_classes_do_not(name: str, real_data: Path) -> None:
    dataset = XLSA17Dataset.at(real_data / name)
    assert in_imagenet(dataset.read_split(real_data).class_names)
    split, labels = dataset.read_split(real_data), dataset.read_labels(real_data)[0]
    seen = {split.class_names[c] for c in labels[split.parts["trainval_loc"]]}
    assert not set(in_imagenet(split.class_names)) - seen


def test_the_audit_names_unseen_classes_that_the_network_has_learned(folder: Path) -> None:
    dataset = XLSA17Dataset.at(folder)
    split, labels = dataset.read_split(Path()), dataset.read_labels(Path())[0]
    unseen = set(labels[split.parts["test_unseen_loc"]].tolist())
    names = ["tench", "goldfish", "otter", *(f"class {c}" for c in range(3, len(split.semantics)))]
    for c, name in zip(sorted(unseen), ("zebra", "Polar_Bear", "dolphin"), strict=True):
        names[c] = name
    variables = {name: (rows + 1.0)[:, None] for name, rows in split.parts.items()}
    write_mat(folder / "att_splits.mat", {**variables, "att": split.semantics.T, "allclasses_names": names})

    def found(value: str) -> list[Finding]:
        tell_pretraining(folder, "res101", value)  # type: ignore[arg-type]
        return [one for one in audit_dataset(dataset, Path(), "res101") if one.check == IN_IMAGENET]

    [finding] = found("imagenet-1k")
    assert (finding.verdict, finding.value) == ("warn", "2: 'zebra', 'Polar_Bear'")
    assert [one.verdict for one in found("unknown")] == ["ok"] and found("none") == []
