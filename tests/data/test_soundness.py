"""What a data set is refused for and warned about, whatever it was made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import command
from toy import toy_data

from zslbench import ZSLData
from zslbench.api.soundness import equal_rows, missing_code, same_names
from zslbench.errors import DataError
from zslbench.evaluation.measuring import stored_decisions, view_of
from zslbench.evaluation.scorers import MatrixScorer
from zslbench_datasets import gbu


def changed(**changes: Any) -> ZSLData:
    return replace(toy_data(), **changes)


def edited(array: np.ndarray, where: Any, value: Any) -> np.ndarray:
    array = array.copy()
    array[where] = value
    return array


X, S, NAMES = toy_data().features, toy_data().semantics, toy_data().class_names
REFUSED = {
    "two names": ({"class_names": ("a", "b", "a", *NAMES[3:])}, r"several classes have one name: name 'a' .*1 and 3"),
    "two forms of an accent": (
        {"class_names": ("caf\u00e9", "cafe\u0301", *NAMES[2:])},
        r"several classes have one name: name 'caf\u00e9' .*1 and 2",
    ),
    "blanks around a name": ({"class_names": ("a", "a ", *NAMES[2:])}, "several classes have one name"),
    "no name": ({"class_names": ("", *NAMES[1:])}, "class 1, counted from 1, without a name"),
    "features of zeros": ({"features": 0 * X}, "features vectors: all values are zero"),
    "constant features": (
        {"features": np.tile(X[:1], (len(X), 1))},
        "features vectors of trainval: all 56 rows are equal",
    ),
    "training features of zeros": (
        {"features": edited(X, toy_data().train, 0)},
        "features vectors of trainval: all 56 rows are equal",
    ),
    "a column that overflows": (
        {"features": edited(X, (slice(None), 3), 1e30)},
        r"features vectors: column 4 of 8 has values as large as 1e\+30.*overflow float32",
    ),
    "columns that overflow": ({"features": edited(X, (5, [1, 2]), -1e18)}, r"2 columns \(2, 3\) of 8 have values"),
    "features that vanish": ({"features": X * np.float32(1e-30)}, "squares vanish in float32"),
    "an embedding of zeros": ({"semantics": edited(S, 2, 0)}, "class embeddings: zero for class 'class 2'"),
    "equal embeddings alone": ({"semantics": np.tile(S[:1], (10, 1))}, "class embeddings: all 10 rows are equal"),
    "an embedding that overflows": ({"semantics": edited(S, (1, 1), 1e25)}, "class embeddings: column 2 of 5"),
    "an image twice": (
        {"train": np.append(toy_data().train, toy_data().train[0])},
        rf"trainval names image {toy_data().train[0] + 1}, counted from 1, more than once",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_no_number_can_be_meaningful_there_is_one_line_that_names_it(case: str) -> None:
    changes, reason = REFUSED[case]
    with pytest.raises(DataError, match=f"data set toy: .*{reason}") as caught:
        changed(**changes)
    assert len(str(caught.value).splitlines()) == 1


def test_arrays_in_memory_are_refused_like_any_other_data_set() -> None:
    data = toy_data()
    parts = {"train": data.train, "test_seen": data.test_seen, "test_unseen": data.test_unseen}
    with pytest.raises(DataError, match="several classes have one name"):
        ZSLData.from_arrays(data.features, data.labels, data.semantics, class_names=["x"] * 10, **parts)
    with pytest.raises(DataError, match="column 1 of 8"):
        ZSLData.from_arrays(edited(X, (0, 0), 1e30), data.labels, data.semantics, **parts)


DOUBTFUL = {
    "equal embeddings": (
        {"semantics": edited(S, 4, S[1])}, r"equal class embeddings.*group 'class 1' = 'class 4'",
    ),
    "a code for missing values": (
        {"semantics": edited(S, ([0, 1], [2, 3]), -1)}, "2 values of the class embeddings are -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_changes_what_a_number_means_is_warned_about(case: str) -> None:
    changes, reason = DOUBTFUL[case]
    with pytest.warns(UserWarning, match=f"data set toy: {reason}"):
        changed(**changes)


def test_a_warning_about_data_is_printed_once_whatever_is_done_with_it(tmp_path, make_xlsa17) -> None:
    def edit(files):
        files["att_splits"]["att"][:, 3] = files["att_splits"]["att"][:, 1]

    folder = make_xlsa17(edit=edit)
    answer = command("compare", "sae", "eszsl", "--dataset", folder, "--seeds", "2", "--device", "cpu", "--plain")
    assert answer.status == 0, answer.err
    assert answer.err.count("equal class embeddings") == 1


def test_opposites_and_word_vectors_are_no_missing_values() -> None:
    random = np.random.default_rng(0)
    signs = np.where(random.random((10, 20)) < 0.5, -1.0, 1.0)
    assert missing_code(signs) is None
    assert missing_code(random.normal(size=(10, 20))) is None
    assert missing_code(np.abs(signs)) is None
    assert missing_code(edited(random.random((10, 20)), ([1, 2, 3], [4, 5, 6]), -9)) == (-9, 3)


def test_zero_has_one_sign_and_groups_may_be_large() -> None:
    assert equal_rows(np.array([[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [0.0, 1.0]])) == [[0, 2, 3]]
    assert same_names(["a", "b", "a", "c", "b"]) == ["'a' (classes 1 and 3)", "'b' (classes 2 and 5)"]


def without_images(data: ZSLData, classes: list[int], removed: bool) -> ZSLData:
    """Leaves out the test images of unseen classes: of the split alone, or of the data altogether."""
    keep = ~np.isin(data.labels, classes)
    if not removed:
        return replace(data, test_unseen=data.test_unseen[keep[data.test_unseen]])
    place = np.cumsum(keep) - 1
    parts = {part: place[rows[keep[rows]]] for part in ("train", "test_seen", "test_unseen")
             if (rows := getattr(data, part)) is not None}  # fmt: skip
    return replace(data, features=data.features[keep], labels=data.labels[keep], **parts)


@pytest.mark.parametrize("removed", [False, True], ids=["left out of the split", "without images at all"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_unseen_classes_without_test_images_stay_candidates_and_are_named(which: int, removed: bool) -> None:
    data = toy_data()
    lost = int(data.split.unseen[which])
    with pytest.warns(UserWarning, match=f"unseen class 'class {lost}' without test images; they stay among"):
        less = without_images(data, [lost], removed)
    assert set(less.split.unseen) == set(data.split.unseen)
    view = less.test_view()
    assert set(view.classes.names) == set(data.class_names)
    assert {view.classes.names[c] for c in view.y} == set(data.class_names) - {f"class {lost}"}
    assert set(less.train_view("semantic-transductive").classes.names) == set(data.class_names)
    assert less.fingerprint != data.fingerprint


def test_their_candidates_decide_as_by_a_loop_over_the_other_images() -> None:
    """U->U of the classes that have images is what it was before one lost its own: the same images, the same choice."""
    data = toy_data(noise=0.6)
    lost = int(data.split.unseen[0])
    with pytest.warns(UserWarning, match="without test images"):
        less = without_images(data, [lost], removed=False)
    random = np.random.default_rng(1)
    table = random.normal(size=(len(data.labels), len(data.class_names)))  # a score of each image for each class

    def accuracies(of: ZSLData) -> dict[str, float]:
        view = of.test_view()
        order = [of.class_names.index(name) for name in view.classes.names]
        decisions = MatrixScorer(table[view.images][:, order], view).conventional
        names = np.array(view.classes.names)[decisions.y]
        return {name: float(decisions.credit()[names == name].mean()) for name in set(names)}

    full, found = accuracies(data), accuracies(less)
    full.pop(f"class {lost}")
    assert found == full
    by_hand = {}
    for c in data.split.unseen[1:]:
        rows = np.flatnonzero(data.labels == c)
        by_hand[f"class {c}"] = np.mean(
            [data.split.unseen[table[row, data.split.unseen].argmax()] == c for row in rows]
        )
    assert found == pytest.approx(by_hand)


def test_stored_decisions_know_seen_from_unseen_classes_where_one_has_no_images() -> None:
    data = toy_data()
    with pytest.warns(UserWarning, match="without test images"):
        less = without_images(data, [int(data.split.unseen[0])], removed=False)
    view = less.test_view()
    scorer = MatrixScorer(np.random.default_rng(0).normal(size=(len(view), len(view.classes))), view)
    again = view_of(stored_decisions(scorer)[0], view.classes.names)
    assert again.classes.seen.tolist() == view.classes.seen.tolist()


@pytest.mark.parametrize(
    ("name", "identity"),  # computed by the version before these checks, so that no stored run is lost
    [("SUN", "ed02337929f7826f"), ("CUB", "bcaad54688f7736d"), ("AWA1", "309260d289595e10"),
     ("AWA2", "e255b88a6c0ee2aa"), ("APY", "4ec3389a5cf5d58d"), ("FLO", "e18661b751513541")],
)  # fmt: skip
def test_the_real_data_keep_their_identity_and_are_not_doubtful(real_data: Path, name: str, identity: str) -> None:
    data = getattr(gbu, name).load_labels(real_data)  # a warning would be an error here
    assert data.fingerprint.startswith(identity)
    assert data.untested.size == 0
    assert len(data.split.seen) + len(data.split.unseen) == len(data.class_names)
