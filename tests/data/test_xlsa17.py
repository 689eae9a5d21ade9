"""The xlsa17 reader: the facts of the real files, all generations of split files, and bad input in one line."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import toy_files, truncate, write_v5, write_v73

from zslbench import DatasetCard, XLSA17Dataset
from zslbench.data import catalogue
from zslbench.data.catalogue import find_dataset
from zslbench.data.folders import cache_folder, data_root
from zslbench.discovery.registry import Registry
from zslbench.errors import DataError, Hint, UsageError
from zslbench_datasets import gbu, zslbench_register

FACTS = {  # from the README of the real data: images, seen, unseen, size, trainval, test_seen, test_unseen
    "SUN": (14340, 645, 72, 102, 10320, 2580, 1440),
    "CUB": (11788, 150, 50, 312, 7057, 1764, 2967),
    "AWA1": (30475, 40, 10, 85, 19832, 4958, 5685),
    "AWA2": (37322, 40, 10, 85, 23527, 5882, 7913),
    "APY": (15339, 20, 12, 64, 5932, 1483, 7924),
    "FLO": (8189, 82, 20, 1024, 5631, 1403, 1155),
}


@pytest.mark.parametrize("splits", ["att_splits", "att_splits_v1"])
@pytest.mark.parametrize("name", FACTS)
def test_the_real_files_have_the_published_sizes(real_data, name, splits):
    data = getattr(gbu, name).load_labels(real_data, splits)
    split = data.split
    found = (len(data.labels), len(split.seen), len(split.unseen), data.semantics.shape[1])
    assert (*found, len(data.train), len(data.test_seen), len(data.test_unseen)) == FACTS[name]
    assert len(data.class_names) == len(split.seen) + len(split.unseen)
    np.testing.assert_allclose(np.linalg.norm(data.semantics, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", FACTS)
def test_both_generations_of_the_real_split_give_the_same_data(real_data, name):
    dataset = getattr(gbu, name)
    old, new = dataset.load_labels(real_data, "att_splits_v1"), dataset.load_labels(real_data)
    assert old.fingerprint == new.fingerprint


def test_real_labels_point_into_the_class_names(real_data):
    """The image files' folders carry the class: an independent witness of labels and of the names' order."""
    data, files = gbu.CUB.load_labels(real_data), gbu.CUB.image_files(real_data)
    assert len(files) == 11788
    assert all(file.split("/")[-2] == data.class_names[label] for file, label in zip(files, data.labels, strict=True))


def test_a_folder_by_its_path_loads_with_its_features(real_data):
    data = find_dataset(real_data / "CUB50").load(real_data / "elsewhere", "lite0")
    assert data.name == "CUB50"
    assert data.features.shape == (2889, 1280)
    assert (len(data.train), len(data.test_seen), len(data.test_unseen)) == (1837, 460, 592)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("generation", ["v1", "interim", "v2"])
def test_every_generation_and_file_version_gives_what_was_written(make_xlsa17, tmp_path, version, generation):
    options = {"generation": generation, "seed": 3}
    dataset = XLSA17Dataset.at(make_xlsa17(version=version, **options))
    files = toy_files(**options)
    splits, images = files["att_splits"], files["res101"]
    data = dataset.load(tmp_path)
    np.testing.assert_allclose(data.features, images["features"].T, rtol=1e-6)
    np.testing.assert_allclose(data.semantics, splits["att"].T, rtol=1e-6)
    np.testing.assert_array_equal(data.labels, images["labels"].ravel() - 1)
    np.testing.assert_array_equal(data.train, splits["trainval_loc"].ravel() - 1)
    np.testing.assert_array_equal(data.test_unseen, splits["test_unseen_loc"].ravel() - 1)
    assert data.class_names == tuple(splits["allclasses_names"])
    assert dataset.image_files(tmp_path) == tuple(images["image_files"])
    suggested = None if generation == "interim" else sorted(set(data.labels[splits["val_loc"].ravel() - 1].tolist()))
    assert (data.validation_folds[0].tolist() if data.validation_folds else None) == suggested


def test_labels_mat_serves_features_that_have_no_labels(make_xlsa17, tmp_path):
    def move_labels(files):
        files["labels"] = {"labels": files["res101"].pop("labels")}

    dataset = XLSA17Dataset.at(make_xlsa17(edit=move_labels))
    np.testing.assert_array_equal(dataset.load(tmp_path).labels, toy_files()["res101"]["labels"].ravel() - 1)
    np.testing.assert_array_equal(dataset.load_labels(tmp_path).labels, dataset.load(tmp_path).labels)


def test_features_alone_may_have_images_in_rows_if_other_labels_say_so(make_xlsa17, tmp_path):
    def turn(files):
        files["labels"] = {"labels": files["res101"].pop("labels")}
        files["res101"]["features"] = files["res101"]["features"].T

    expected = XLSA17Dataset.at(make_xlsa17(name="columns")).load(tmp_path)
    dataset = XLSA17Dataset.at(make_xlsa17(edit=turn))
    with pytest.warns(
        Hint, match=r"res101\.mat: features have shape \(110, 12\) for 110 labels: .* is taken to be a row"
    ):
        data = dataset.load(tmp_path)
    np.testing.assert_array_equal(data.features, expected.features)
    assert data.features_fingerprint == expected.features_fingerprint


def test_classes_without_names_are_numbered_and_original_att_is_not_needed(make_xlsa17, tmp_path):
    def strip(files):
        del files["att_splits"]["allclasses_names"], files["att_splits"]["original_att"]

    data = XLSA17Dataset.at(make_xlsa17(edit=strip)).load(tmp_path)
    assert data.class_names[:2] == ("class 1", "class 2")
    assert len(data.class_names) == 11


@pytest.mark.parametrize("trouble", ["shared class", "unseen class", "all classes"])
def test_validation_classes_are_suggested_only_if_they_make_a_zero_shot_problem(make_xlsa17, tmp_path, trouble):
    def edit(files):
        splits = files["att_splits"]
        train, validation = splits["train_loc"], splits["val_loc"]
        if trouble == "shared class":
            splits["val_loc"], splits["train_loc"] = np.vstack([validation, train[:1]]), train[1:]
        elif trouble == "unseen class":
            splits["val_loc"] = np.vstack([validation, splits["test_unseen_loc"][:1]])
        else:
            splits["val_loc"], splits["train_loc"] = splits["trainval_loc"], splits["test_unseen_loc"]

    assert XLSA17Dataset.at(make_xlsa17(edit=edit)).load(tmp_path).validation_folds == ()


def damaged(change):
    """Returns an edit that changes one file's variables, after which the rest of the data set is as before."""
    return lambda files: change(files["att_splits"], files["res101"])


BAD = {
    "labels beyond the classes": (
        lambda s, x: x["labels"].__setitem__((0, 0), 12),
        r"labels run from 1 to 12.*res101\.mat",
    ),
    "label zero": (
        lambda s, x: x["labels"].__setitem__((0, 0), 0),
        r"res101\.mat: labels must be whole numbers from 1",
    ),
    "NaN": (lambda s, x: x["features"].__setitem__((0, 4), np.nan), r"res101\.mat: features: 1 values.*first in row 5"),
    "NaN embedding": (
        lambda s, x: s["att"].__setitem__((0, 0), np.nan),
        r"class embeddings: 1 values.*att_splits\.mat",
    ),
    "empty trainval": (
        lambda s, x: s.update(trainval_loc=np.empty((0, 1))),
        r"part trainval is empty.*att_splits\.mat",
    ),
    "empty unseen": (lambda s, x: s.update(test_unseen_loc=np.empty((0, 1))), r"test_unseen is empty.*att_splits\.mat"),
    "image beyond": (lambda s, x: s["test_seen_loc"].__setitem__((0, 0), 111), r"image 111, but there are 110 labels"),
    "image that wraps": (
        lambda s, x: s.update(test_seen_loc=np.array([[2**64 - 1], [1]], dtype=np.uint64)),
        r"att_splits\.mat: test_seen_loc must be whole numbers from 1",
    ),
    "image before": (lambda s, x: s["test_seen_loc"].__setitem__((0, 0), -1), r"test_seen_loc must be whole numbers"),
    "class beyond": (lambda s, x: x["labels"].__setitem__((0, 0), 12), r"labels run .* to 12 .* there are 11 classes"),
    "overlap": (lambda s, x: s.update(test_seen_loc=s["trainval_loc"][:3]), r"share images.*att_splits\.mat"),
    "no att": (lambda s, x: s.pop("att"), r"att_splits\.mat: variable 'att' is missing"),
    "flat att": (lambda s, x: s.update(att=np.empty((0, 0))), r"att_splits\.mat: att has shape \(0, 0\)"),
    "transposed att": (
        lambda s, x: s.update(att=s["att"].T),
        r"11 class names for 6 class embeddings.*att_splits\.mat",
    ),
    "no trainval": (lambda s, x: s.pop("trainval_loc"), r"att_splits\.mat: variable 'trainval_loc' is missing"),
    "no features": (lambda s, x: x.pop("features"), r"res101\.mat: variable 'features' is missing"),
    "few labels": (
        lambda s, x: x.update(labels=x["labels"][:9]),
        r"res101\.mat: features have shape \(12, 110\) for 9",
    ),
    "no labels": (lambda s, x: x.pop("labels"), r"no file in .*TOY has labels"),
    "names are numbers": (
        lambda s, x: s.update(allclasses_names=np.ones((11, 1))),
        r"'allclasses_names' is not a cell",
    ),
}


@pytest.mark.parametrize("write", [write_v5, write_v73], ids=["v5", "v7.3"])
@pytest.mark.parametrize("case", BAD)
def test_bad_content_is_one_line_that_names_the_file(make_xlsa17, tmp_path, case, write):
    change, message = BAD[case]
    folder = make_xlsa17(version="5" if write is write_v5 else "7.3", edit=damaged(change))
    with pytest.raises(DataError, match=message) as caught:
        XLSA17Dataset.at(folder).load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", ["att_splits.mat", "res101.mat"])
def test_a_truncated_file_is_named(make_xlsa17, tmp_path, file):
    folder = make_xlsa17()
    truncate(folder / file)
    with pytest.raises(DataError, match=file):
        XLSA17Dataset.at(folder).load(tmp_path)


def test_a_missing_data_set_says_which_file_is_expected_where_and_how_to_get_it(tmp_path):
    line = gbu.SUN.missing(tmp_path)
    assert str(tmp_path / "SUN" / "att_splits.mat") in line
    assert "`zslbench data get sun`" in line
    assert "--data-root or ZSLBENCH_DATA" in line
    with pytest.raises(DataError, match="zslbench data get sun"):
        gbu.SUN.load(tmp_path)


def test_what_no_archive_holds_is_not_promised(make_xlsa17, tmp_path):
    assert "`zslbench data get flo`" in gbu.FLO.missing(tmp_path)
    assert "data get" not in XLSA17Dataset.at(make_xlsa17()).missing(tmp_path, "vit")


def test_missing_features_and_splits_offer_those_that_are_there(make_xlsa17, tmp_path):
    make_xlsa17(name="AWA1", features="bow512")
    line = gbu.AWA1.missing(tmp_path)
    assert "res101.mat is missing" in line
    assert "`zslbench data get awa1`" in line
    assert "--features bow512" in line
    assert gbu.AWA1.missing(tmp_path, "bow512") == ""
    assert "--splits att_splits" in gbu.AWA1.missing(tmp_path, "bow512", "att_splits_v9")


def test_a_data_set_of_a_plugin_reads_its_own_default_features(make_xlsa17, tmp_path):
    make_xlsa17(name="MINE", features="vit")
    card = DatasetCard(title="Mine", citation="", licence="", default_features="vit")
    assert XLSA17Dataset(card, "MINE").load(tmp_path).features_name == "vit"


@pytest.fixture
def built_in(monkeypatch):
    filled = Registry()
    zslbench_register(filled)
    monkeypatch.setattr(catalogue, "registry", lambda: filled)


@pytest.mark.usefixtures("built_in")
def test_a_registered_name_wins_over_a_folder_of_that_name(make_xlsa17, tmp_path, monkeypatch):
    make_xlsa17(name="sun")
    monkeypatch.chdir(tmp_path)
    assert find_dataset("sun") is gbu.SUN
    assert find_dataset("./sun").card.title == "sun"


@pytest.mark.usefixtures("built_in")
def test_unknown_names_and_folders_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="unknown data set 'awa3'; did you mean 'awa2' or 'awa1'"):
        find_dataset("awa3")
    with pytest.raises(UsageError, match=r"that is a folder without att_splits\*\.mat"):
        find_dataset(str(tmp_path))
    with pytest.raises(UsageError, match="that is no folder"):
        find_dataset(tmp_path / "nowhere")


def test_the_data_root_is_the_option_then_the_environment_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "environment"))
    assert data_root(tmp_path / "option") == tmp_path / "option"
    assert data_root() == tmp_path / "environment"
    monkeypatch.delenv("ZSLBENCH_DATA")
    assert data_root().parent == cache_folder()


def renamed(folder, name):
    """Gives the split file another name, as splits of one's own have."""
    (folder / "att_splits.mat").rename(folder / f"{name}.mat")
    return folder


def test_splits_of_other_names_are_offered_where_none_has_the_releases(make_xlsa17, tmp_path):
    wanted = XLSA17Dataset.at(make_xlsa17(name="PLAIN")).load(tmp_path)
    folder = renamed(make_xlsa17(), "my_split")
    (folder / "._my_split.mat").write_bytes(b"what a Mac leaves")
    dataset = find_dataset(folder)
    with pytest.raises(DataError, match=r"att_splits\.mat is missing; take what is there with --splits my_split$"):
        dataset.load(tmp_path)
    assert dataset.split_files(tmp_path) == ["my_split"]
    assert dataset.load(tmp_path, splits="my_split").fingerprint == wanted.fingerprint
    make_xlsa17()
    assert dataset.split_files(tmp_path) == ["att_splits"]


@pytest.mark.usefixtures("built_in")
def test_a_folder_of_features_alone_is_no_data_set(make_xlsa17, tmp_path):
    folder = make_xlsa17()
    (folder / "att_splits.mat").unlink()
    with pytest.raises(UsageError, match=r"that is a folder without att_splits\*\.mat"):
        find_dataset(folder)


def test_labels_that_come_twice_must_agree(make_xlsa17, tmp_path):
    def both(change):
        def edit(files):
            labels = files["res101"]["labels"].copy()
            files["labels"] = {"labels": change(labels)}

        return XLSA17Dataset.at(make_xlsa17(name=change.__name__, edit=edit))

    def same(labels):
        return labels

    def moved(labels):
        return np.roll(labels, 1)

    def short(labels):
        return labels[:-1]

    both(same).load(tmp_path)
    with pytest.raises(DataError, match=r"res101\.mat and .*labels\.mat have other labels for 11 of 110 images"):
        both(moved).load(tmp_path)
    with pytest.raises(DataError, match=r"res101\.mat and .*labels\.mat have 110 and 109 labels"):
        both(short).load(tmp_path)


def test_what_a_mac_leaves_beside_the_files_is_passed_over(make_xlsa17, tmp_path):
    folder = make_xlsa17()
    for name in ("._att_splits.mat", "._res101.mat", ".DS_Store"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07" + bytes(78))
    dataset = XLSA17Dataset.at(folder)
    assert [path.name for path in dataset.mat_files(tmp_path)] == ["res101.mat"]
    assert len(dataset.load_labels(tmp_path).labels) == 110
    assert dataset.feature_files(tmp_path) == ["res101"]


BROKEN = {
    "two columns of one name": (
        lambda s: s["allclasses_names"].__setitem__(4, s["allclasses_names"][2]),
        r"several classes have one name: name '009\.class' \(classes 3 and 5\).*att_splits\.mat",
    ),
    "an image twice": (
        lambda s: s.update(trainval_loc=np.vstack([s["trainval_loc"], s["trainval_loc"][:1]])),
        r"trainval names image \d+, counted from 1, more than once.*att_splits\.mat",
    ),
    "a column of zeros": (
        lambda s: s["att"].__setitem__((slice(None), 2), 0), r"zero for class '009\.class'.*att_splits\.mat",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_split_file_that_contradicts_itself_is_refused(make_xlsa17, tmp_path, case):
    change, message = BROKEN[case]
    with pytest.raises(DataError, match=message):
        XLSA17Dataset.at(make_xlsa17(edit=lambda files: change(files["att_splits"]))).load_labels(tmp_path)


def test_features_whose_squares_overflow_are_refused_with_and_without_the_cache(make_xlsa17, tmp_path):
    folder = make_xlsa17(edit=lambda files: files["res101"]["features"].__setitem__((3, slice(None)), 1e30))
    for _ in range(2):
        with pytest.raises(DataError, match=r"res101\.mat: features: column 4 of 12 has values as large as 1e\+30"):
            XLSA17Dataset.at(folder).load(tmp_path)
