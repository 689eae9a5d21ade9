"""Score files in every layout: formats, order of rows and columns, tables of spreadsheets, and wrong files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch
from numpy.typing import NDArray
from outside import Inside
from scorefiles import (
    Scores,
    made,
    metrics_of,
    npz,
    write_csv,
    write_npy,
    write_npy_twice,
    write_npz,
    write_safetensors,
)

from zslbench import XLSA17Dataset
from zslbench.data.scorefile import ScoreFile, read_scores
from zslbench.errors import DataError, Hint

__all__ = ["made"]

MIXED = [7, 2, 9, 0, 4, 1, 8, 3, 6, 5]
"""An order of the columns other than the data set's."""


@pytest.mark.parametrize("write", [write_npz, write_npy, write_npy_twice, write_csv, write_safetensors])
def test_every_format_gives_the_same_figures(inside: Inside, tmp_path: Path, made: Scores, write: Any) -> None:
    arguments = write(tmp_path, made.scores, made.images)
    metrics = metrics_of(inside("evaluate", *arguments, "-d", "digits", "--json"))
    for name, expected in made.expected().items():
        assert metrics[name] == pytest.approx(expected, abs=1e-12), name
    assert "h_cal" not in metrics  # there are no validation scores to choose gamma on


def test_a_matrix_of_small_floats_is_read_as_well(inside: Inside, tmp_path: Path, made: Scores) -> None:
    quarters = np.round(made.scores * 4) / 4  # exact in both types
    wide = metrics_of(inside("evaluate", *write_npz(tmp_path, quarters, made.images), "-d", "digits", "--json"))
    narrow = write_npz(tmp_path, quarters.astype(np.float16), made.images.astype(np.uint16))
    assert metrics_of(inside("evaluate", *narrow, "-d", "digits", "--json")) == wide


def wrong_scores(made: Scores, what: str) -> tuple[NDArray[Any], NDArray[Any]]:
    scores, images = made.scores.copy(), made.images.copy()
    if what == "a class too few":
        return scores[:, :-1], images
    if what == "transposed":
        return scores.T, images
    if what == "one dimension":
        return scores.ravel(), images
    if what == "an image missing":
        return scores[:-1], images[:-1]
    if what == "an image doubled":
        images[0] = images[1]
    elif what == "a training image":
        images[0] = next(i for i in range(1, 1798) if i not in set(images))
    elif what == "NaN":
        scores[3, 4] = np.nan
    elif what == "infinite":
        scores[0] = np.inf
    elif what == "text":
        return scores.astype(str), images
    return scores, images


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a class too few", "scores have shape (788, 9); 788 images and 10 classes need (788, 10)"),
        ("transposed", "scores have shape (10, 788)"),
        ("one dimension", "scores have shape (7880,)"),
        ("an image missing", "it scores 787 images (787 different); the test part has 788, of which 1 are missing"),
        ("an image doubled", "it scores 788 images (787 different); the test part has 788, of which 1 are missing"),
        ("a training image", "of which 1 are missing, the first number"),
        ("NaN", "1 scores are NaN or infinite"),
        ("infinite", "10 scores are NaN or infinite"),
        ("text", "not real numbers"),
    ],
)
def test_scores_that_do_not_fit_are_one_line(
    inside: Inside, tmp_path: Path, made: Scores, what: str, said: str, store: Path
) -> None:
    [path] = write_npz(tmp_path, *wrong_scores(made, what))
    answer = inside("evaluate", path, "-d", "digits", "--save")
    assert answer.status == 1
    assert answer.error().startswith(f"{path}: ")
    assert said in answer.error()
    assert not store.exists()


def test_files_that_cannot_be_read_are_one_line(inside: Inside, tmp_path: Path, made: Scores) -> None:
    def said(name: str, content: bytes, status: int = 1) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        answer = inside("evaluate", path, "-d", "digits")
        assert answer.status == status
        assert str(path) in answer.error()
        return answer.error()

    [whole] = write_npz(tmp_path, made.scores, made.images)
    assert "cannot be read as .npz" in said("cut.npz", Path(whole).read_bytes()[:1000])
    assert "cannot be read as .safetensors" in said("cut.safetensors", b"\x00" * 4)
    assert "the first line must be: image" in said("wrong.csv", b"a,b\n1,2\n")
    assert "row 3 ('2'), column '0': the cell is empty" in said("ragged.csv", b"image,0\n1,2\n2\n")
    assert "row 2 ('1'), column '0': 'two' is no number" in said("text.csv", b"image,0\n1,two\n")
    foreign = said("foreign.csv", b"image,zero\n1,2\n")
    assert "10 classes ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9') are missing; it has 'zero' instead" in foreign
    assert "cannot be read as CSV" in said("empty.csv", b"")
    assert "scores are read from .csv, .tsv, .npy, .npz, .safetensors, .pt, .mat or .h5, not from .txt" in said(
        "scores.txt", b"", status=2
    )
    assert "give the image numbers with --images" in said("alone.npy", b"", status=2)


def test_a_file_without_the_arrays_names_what_it_has(inside: Inside, tmp_path: Path, made: Scores) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, logits=made.scores, images=made.images)
    answer = inside("evaluate", path, "-d", "digits")
    assert answer.status == 1
    assert answer.error() == f"{path}: it has no array 'scores', only images, logits"


def test_nothing_is_unpickled(inside: Inside, tmp_path: Path, made: Scores) -> None:
    path = tmp_path / "pickled.npz"
    np.savez(path, scores=np.array([object()], dtype=object), images=made.images)
    answer = inside("evaluate", path, "-d", "digits")
    assert answer.status == 1
    assert "array 'scores' holds Python objects" in answer.error()


@pytest.mark.parametrize("name", ["classes", "class_names", "allclasses_names"])
@pytest.mark.parametrize("kind", [str, bytes, np.int64, np.float64])
def test_columns_stand_in_the_order_that_the_file_names(
    inside: Inside, tmp_path: Path, made: Scores, kind: Any, name: str
) -> None:
    classes = np.array([str(c).encode() if kind is bytes else kind(c) for c in MIXED])
    path = npz(tmp_path / "m.npz", scores=made.scores[:, MIXED], images=made.images, **{name: classes})
    answer = inside("evaluate", path, "-d", "digits", "--json")
    assert answer.err == ""
    for metric, expected in made.expected().items():
        assert metrics_of(answer)[metric] == pytest.approx(expected, abs=1e-12), metric


@pytest.mark.parametrize("base", [0, 1])
def test_numbers_of_classes_are_understood_and_said(make_xlsa17: Any, tmp_path: Path, base: int) -> None:
    data = XLSA17Dataset.at(make_xlsa17()).load(tmp_path)
    view = data.test_view()
    plain = np.random.default_rng(0).normal(size=(len(view), len(data.class_names)))
    order = np.random.default_rng(1).permutation(len(data.class_names))
    images = view.images + 1
    expected = ScoreFile.of(plain, images, "mine").matrix_for(view, data.class_names)
    numbered = ScoreFile(Path("mine"), plain[:, order], images, tuple(map(str, order + base)))
    with pytest.warns(Hint, match=f"its classes are taken for their numbers, from {base}"):
        np.testing.assert_array_equal(numbered.matrix_for(view, data.class_names), expected)
    names = [data.class_names[c].upper().replace("_", " ") for c in order]
    with pytest.warns(Hint, match="names are matched without regard to"):
        matched = ScoreFile(Path("mine"), plain[:, order], images, tuple(names)).matrix_for(view, data.class_names)
    np.testing.assert_array_equal(matched, expected)


def test_classes_called_by_numbers_in_another_order_are_no_contradiction(make_xlsa17: Any, tmp_path: Path) -> None:
    data = XLSA17Dataset.at(make_xlsa17()).load(tmp_path)
    names = tuple(map(str, reversed(range(len(data.class_names)))))
    view = replace(data, class_names=names).test_view()
    scores = np.random.default_rng(0).normal(size=(len(view), len(names)))
    file = ScoreFile.of(scores, view.images + 1, "mine")
    expected = scores[:, [names.index(name) for name in view.classes.names]]
    np.testing.assert_array_equal(file.matrix_for(view, names), expected)
    with pytest.raises(DataError, match="may be names or numbers from 0, which differ"):
        replace(file, classes=names).matrix_for(view, names)


CONTRADICTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown class": ({"classes": [*map(str, range(9)), "ten"]}, "class '9' is missing; it has 'ten' instead"),
    "class twice": ({"classes": [*map(str, range(9)), "8"]}, "class '8' is there twice"),
    "missing class": ({"classes": list(map(str, range(9)))}, "class '9' is missing"),
    "one class more": ({"classes": list(map(str, range(11)))}, "class '10' is not in the data"),
    "numbers with a gap": ({"classes": [0, 1, 2, 3, 4, 5, 6, 7, 8, 12]}, "class '9' is missing; it has '12' instead"),
    "half a class": ({"classes": np.arange(10) + 0.5}, "classes holds 0.5 at place 1; whole numbers are needed"),
    "a table of classes": ({"classes": np.full((2, 5), "a")}, "classes has shape (2, 5); a list of names is needed"),
    "two lists": ({"classes": range(10), "class_names": MIXED}, "its arrays classes and class_names differ"),
    "numbers that are other names": ({"classes": range(1, 11)}, "may be names or numbers from 1, which differ"),
    "half images": ({"images": "+.5"}, "whole numbers are needed"),
    "images in a table": ({"images": "square"}, "a list of numbers is needed"),
    "images from 0": ({"images": "-1"}, "(they seem to count from 0; add 1)"),
    "complex images": ({"images": "complex"}, "array 'images' is of type complex128; save it as float32 or float64"),
    "other labels": ({"labels": "moved"}, "its labels are not those of the data set for "),
    "labels too few": ({"labels": np.zeros(3)}, "it has 3 labels for 788 images"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_file_that_contradicts_itself_or_the_data_set_is_refused(
    inside: Inside, tmp_path: Path, made: Scores, case: str
) -> None:
    extra, said = CONTRADICTIONS[case]
    changed: dict[str, Any] = {
        "+.5": made.images + 0.5,
        "-1": made.images - 1,
        "square": made.images.reshape(2, -1),
        "complex": made.images.astype(complex),
        "moved": np.roll(made.labels, 1),
    }
    extra = {name: changed.get(value, value) if isinstance(value, str) else value for name, value in extra.items()}
    path = npz(tmp_path / "bad.npz", **({"scores": made.scores, "images": made.images} | extra))
    answer = inside("evaluate", path, "-d", "digits")
    assert answer.status == 1
    assert said in answer.error()


def test_labels_are_checked_and_what_is_ignored_is_named(inside: Inside, tmp_path: Path, made: Scores) -> None:
    for labels in (made.labels, made.labels + 1, made.labels.astype(str), made.labels.astype(float)[:, None]):
        path = npz(tmp_path / "m.npz", scores=made.scores, images=made.images, labels=labels, loss=0.1, best=[1, 2])
        answer = inside("evaluate", path, "-d", "digits", "--json")
        assert answer.err.splitlines() == [f"{path}: ignored: best, loss"]
        assert metrics_of(answer)["acc_ut"] == pytest.approx(made.expected()["acc_ut"])


def test_tensors_of_every_precision_are_read_with_the_names_beside_them(
    inside: Inside, tmp_path: Path, made: Scores
) -> None:
    """Quarters near 0 are exact even in bfloat16."""
    quarters = np.clip(np.round(made.scores * 4) / 4, -8, 8)
    expected = metrics_of(inside("evaluate", *write_npz(tmp_path, quarters, made.images), "-d", "digits", "--json"))
    images, names = torch.from_numpy(made.images), list(map(str, MIXED))
    for kind in (torch.bfloat16, torch.float16, torch.float32):
        scores = torch.from_numpy(quarters[:, MIXED]).to(kind).contiguous()
        torch.save({"scores": scores, "images": images, "classes": names}, tmp_path / "m.pt")
        metadata = {"format": "pt", "classes": json.dumps(names)}
        safetensors.torch.save_file({"scores": scores, "images": images}, tmp_path / "m.safetensors", metadata)
        torch.save(scores, tmp_path / "scores.pt")
        for name in ("m.pt", "m.safetensors"):
            assert metrics_of(inside("evaluate", tmp_path / name, "-d", "digits", "--json")) == expected
    cells = np.array(names, dtype=object)
    scipy.io.savemat(tmp_path / "m.mat", {"scores": quarters[:, MIXED], "images": made.images, "classes": cells})
    assert metrics_of(inside("evaluate", tmp_path / "m.mat", "-d", "digits", "--json")) == expected


def test_image_numbers_are_given_once(inside: Inside, tmp_path: Path, made: Scores) -> None:
    *_, index = write_npy(tmp_path, made.scores, made.images)
    for write in (write_npz, write_csv):
        answer = inside("evaluate", *write(tmp_path, made.scores, made.images), "-d", "digits", "--images", index)
        assert answer.status == 2
        assert "says itself which images it scores" in answer.error()
    alone = npz(tmp_path / "alone.npz", scores=made.scores)
    metrics = metrics_of(inside("evaluate", alone, "-d", "digits", "--images", index, "--json"))
    assert metrics["acc_ut"] == pytest.approx(made.expected()["acc_ut"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"1 2\n3 4\n", "row 1: '1 2' is no number"),
        (b"1,2\n3,4\n", "row 1 has 2 cells; one image number a line is needed"),
        (b"1\n2.5\n", "holds 2.5 at place 2; whole numbers are needed"),
        (b"1\n1e300\n", "whole numbers are needed"),
        (b"", "it is empty"),
    ],
)
def test_a_list_of_images_is_one_whole_number_a_line(
    inside: Inside, tmp_path: Path, made: Scores, content: bytes, said: str
) -> None:
    np.save(tmp_path / "mine.npy", made.scores)
    (tmp_path / "images.txt").write_bytes(content)
    answer = inside("evaluate", tmp_path / "mine.npy", "-d", "digits", "--images", tmp_path / "images.txt")
    assert answer.status == 1
    assert answer.error().startswith(f"{tmp_path / 'images.txt'}: ") and said in answer.error()


def spreadsheet(made: Scores, separator: str = ",", comma: str = ".", turned: bool = False) -> str:
    rows = [["image", *map(str, MIXED)]]
    rows += [
        [str(i), *(f"{x:.9f}".replace(".", comma) for x in row)]
        for i, row in zip(made.images, made.scores[:, MIXED], strict=True)
    ]
    if turned:
        rows = [list(column) for column in zip(*rows, strict=True)]
        rows[0][0] = "class"
    return "\n".join(map(separator.join, rows)) + "\n"


@pytest.mark.parametrize("case", ["semicolons", "tabs", "utf-16", "mark", "trailing"])
def test_tables_of_spreadsheets_give_the_same_figures(inside: Inside, tmp_path: Path, made: Scores, case: str) -> None:
    content, said = {
        "semicolons": (spreadsheet(made, ";", ",").encode(), "read with ';' between cells and decimal commas"),
        "tabs": (spreadsheet(made, "\t").encode(), "read with tabs between cells"),
        "utf-16": (spreadsheet(made, "\t").encode("utf-16"), "read with UTF-16 and tabs between cells"),
        "mark": (spreadsheet(made).replace("\n", "\r\n").encode("utf-8-sig"), ""),
        "trailing": ((spreadsheet(made).replace("\n", ",,\n") + ",,,\n\n").encode(), ""),
    }[case]
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    answer = inside("evaluate", path, "-d", "digits", "--json")
    assert answer.err.splitlines() == ([f"{path}: {said}"] if said else [])
    for metric, expected in made.expected().items():
        assert metrics_of(answer)[metric] == pytest.approx(expected, abs=1e-6), metric


def test_a_table_with_classes_in_rows_is_turned(make_xlsa17: Any, tmp_path: Path) -> None:
    data = XLSA17Dataset.at(make_xlsa17()).load(tmp_path)
    view = data.test_view()
    scores = np.round(np.random.default_rng(0).normal(size=(len(view), len(data.class_names))), 3)
    lines = [["class", *map(str, view.images + 1)]]
    lines += [[name, *map(str, column)] for name, column in zip(data.class_names, scores.T.tolist(), strict=True)]
    path = tmp_path / "turned.csv"
    path.write_text("\n".join(map(",".join, lines)))
    with pytest.warns(Hint, match="read with rows and columns exchanged"):
        file = read_scores(path)
    expected = ScoreFile.of(scores, view.images + 1, "mine").matrix_for(view, data.class_names)
    np.testing.assert_array_equal(file.matrix_for(view, data.class_names), expected)
