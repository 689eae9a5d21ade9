"""Class embeddings other than the data set's own: what may be given, and bad files in one line."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch
from planned import plan
from synthetic import toy_files

from zslbench import XLSA17Dataset, ZSLData
from zslbench.data import names
from zslbench.data import semantics as module
from zslbench.data.arrays import CLASSES
from zslbench.data.semantics import with_semantics
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.errors import DataError, Hint, NotApplicable, UsageError
from zslbench.runs.request import Request
from zslbench.runs.resolve import resolve

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.normal(size=(11, 4))
"""Embeddings of toy data's 11 classes."""


@pytest.fixture
def folder(make_xlsa17: Any) -> Path:
    return make_xlsa17()


@pytest.fixture
def data(folder: Path, tmp_path: Path) -> ZSLData:
    return XLSA17Dataset.at(folder).load(tmp_path)


def lines(data: ZSLData, rows: Any = ROWS, separator: str = " ") -> list[str]:
    pairs = zip(data.class_names, np.asarray(rows).tolist(), strict=True)
    return [separator.join([name, *map(repr, row)]) for name, row in pairs]


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_att_is_the_data_sets_own_and_original_is_that_before_normalisation(data: ZSLData) -> None:
    assert with_semantics(data, "att") is data
    original = with_semantics(data, "original")
    np.testing.assert_allclose(original.semantics, toy_files()["att_splits"]["original_att"].T, rtol=1e-6)
    assert original.attributes


def test_rows_of_an_array_are_those_of_the_classes_in_order_and_get_unit_length(data: ZSLData, tmp_path: Path) -> None:
    for kind in (np.float64, np.float32, np.float16):
        np.save(tmp_path / "rows.npy", ROWS.astype(kind))
        found = with_semantics(data, str(tmp_path / "rows.npy"))
        np.testing.assert_allclose(found.semantics, unit(ROWS.astype(kind).astype(float)), rtol=1e-5)
        assert found.semantics.dtype == np.float32
    np.save(tmp_path / "rows.npy", np.arange(22).reshape(11, 2))
    np.testing.assert_allclose(
        with_semantics(data, str(tmp_path / "rows.npy")).semantics, unit(np.arange(22).reshape(11, 2)), rtol=1e-6
    )


def save_arrays(path: Path, **arrays: Any) -> Path:
    """Writes arrays in the format that the suffix says; an array called `alone` is the only one."""
    lone = arrays.get("alone")
    if path.suffix == ".npy":
        np.save(path, lone)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {n: np.array(a, dtype=object) if n in CLASSES else a for n, a in arrays.items()})
    else:
        tensors = {n: list(a) if n in CLASSES else torch.tensor(a) for n, a in arrays.items()}
        if path.suffix == ".pt":
            torch.save(tensors["alone"] if lone is not None else tensors, path)
        else:
            texts = {n: json.dumps(tensors.pop(n)) for n in CLASSES if n in tensors}
            safetensors.torch.save_file({n: t.contiguous() for n, t in tensors.items()}, path, texts or None)
    return path


SUFFIXES = [".npy", ".npz", ".mat", ".pt", ".safetensors"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_of_arrays_is_read_in_both_orientations(data: ZSLData, tmp_path: Path, suffix: str) -> None:
    path = save_arrays(tmp_path / f"a{suffix}", alone=ROWS)
    np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)
    save_arrays(path, alone=ROWS.T)
    with pytest.warns(Hint, match="has classes in its columns, by their number"):
        np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)
    square = RANDOM.normal(size=(11, 11))
    save_arrays(path, alone=square)
    with pytest.warns(Hint, match="is square; its rows are taken for the classes"):
        np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(square), rtol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES[1:])
def test_rows_stand_in_the_order_that_the_file_names(data: ZSLData, tmp_path: Path, suffix: str) -> None:
    order = np.random.default_rng(2).permutation(11)
    names = [data.class_names[c] for c in order]
    for rows in (ROWS[order], ROWS[order].T):
        path = save_arrays(tmp_path / f"a{suffix}", w2v=rows, class_names=names, year=np.array([[2018.0]]))
        with pytest.warns(Hint) as hints:
            np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)
        assert f"{path}: array 'w2v' is taken; ignored: year" in [str(hint.message) for hint in hints]
    with pytest.raises(DataError, match="is there twice"):
        with_semantics(data, str(save_arrays(path, w2v=ROWS, class_names=[*names[1:], names[1]])))


def test_of_several_matrices_that_fit_none_is_chosen(data: ZSLData, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="original_att all fit the 11 classes; choose one"):
        with_semantics(data, str(folder / "att_splits.mat"))
    path = save_arrays(tmp_path / "a.npz", one=ROWS[1:], other=ROWS[0])
    with pytest.raises(DataError, match=r"none of its arrays \(one \(10, 4\), other \(4,\)\) fits; a row for each"):
        with_semantics(data, str(path))


def test_half_precision_of_tensors_is_enough(data: ZSLData, tmp_path: Path) -> None:
    quarters = np.round(ROWS * 4) / 4 + 8
    torch.save(torch.tensor(quarters).bfloat16(), tmp_path / "a.pt")
    np.testing.assert_allclose(with_semantics(data, str(tmp_path / "a.pt")).semantics, unit(quarters), rtol=1e-6)


TEXT_WAYS: dict[str, tuple[Any, str]] = {
    "mark": (lambda data: "\ufeff" + "\n".join(lines(data)), ""),
    "semicolons": (
        lambda data: "\n".join(lines(data, separator=";")).replace(".", ",").replace(",class", ".class"),
        "decimal commas",
    ),
    "other names": (lambda data: "\n".join(lines(data)).upper().replace(".", ". ", 0), "without regard to case"),
    "classes in columns": (
        lambda data: "\n".join(
            [",".join(["value", *data.class_names])]
            + [",".join([f"v{i}", *map(repr, column)]) for i, column in enumerate(ROWS.T.tolist())]
        ),
        "rows and columns exchanged",
    ),
}


@pytest.mark.parametrize("way", TEXT_WAYS)
def test_text_as_people_have_it_is_read_and_said(data: ZSLData, tmp_path: Path, way: str) -> None:
    write, said = TEXT_WAYS[way]
    path = tmp_path / "vectors.csv"
    path.write_text(write(data), encoding="utf-8")
    with warnings.catch_warnings(record=True, action="always") as hints:
        np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)
    assert len(hints) == bool(said) and said in "".join(str(hint.message) for hint in hints)


def test_a_large_file_is_read_line_by_line(data: ZSLData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(["\ufeffzebra 1 2 3 4", "", *lines(data)]))
    monkeypatch.setattr(module, "SMALL", 0)
    np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)
    path.write_text("zebra 1 2 3 4")
    with pytest.raises(DataError, match="it has no line for 11 classes"):
        with_semantics(data, str(path))


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_a_text_file_gives_each_class_its_line_whatever_their_order(
    data: ZSLData, tmp_path: Path, separator: str
) -> None:
    """As a file of word vectors: a header, other words, any order, an empty line."""
    path = tmp_path / "vectors.csv"
    content = ["400000 4", *reversed(lines(data, separator=separator)), f"zebra{separator}1", ""]
    path.write_text("\n".join(content))
    np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)


@pytest.mark.parametrize("head", ["", "class,red,blue\n", "class,red,red\n", "class,1,2\n", "class,red\n"])
def test_columns_are_called_as_a_head_says(data: ZSLData, tmp_path: Path, head: str) -> None:
    path = tmp_path / "words.csv"
    path.write_text(head + "".join(f"{name},1,{i + 2}\n" for i, name in enumerate(data.class_names)))
    assert with_semantics(data, str(path)).attribute_names == (("red", "blue") if "blue" in head else ())


def test_a_name_may_have_blanks_where_commas_divide(data: ZSLData, tmp_path: Path) -> None:
    """FLO has no names, so its classes are `class 1`, `class 2` and so on."""
    data = replace(data, class_names=tuple(f"class {c}" for c in range(11)))
    path = tmp_path / "vectors.csv"
    path.write_text("\n".join(lines(data, separator=",")))
    np.testing.assert_allclose(with_semantics(data, str(path)).semantics, unit(ROWS), rtol=1e-5)


@pytest.mark.parametrize(("rows", "attributes"), [(np.abs(ROWS), True), (ROWS, False)])
def test_strengths_of_attributes_are_not_negative(data: ZSLData, tmp_path: Path, rows: Any, attributes: bool) -> None:
    np.save(tmp_path / "rows.npy", rows)
    assert with_semantics(data, str(tmp_path / "rows.npy")).attributes == attributes


def _text(change: Any) -> Any:
    def write(path: Path, data: ZSLData) -> None:
        path.with_suffix(".txt").write_text("\n".join(change(lines(data), data)))

    return write


def _array(rows: Any) -> Any:
    return lambda path, data: np.save(path, rows)


BAD = {
    "few rows": (_array(ROWS[:9]), "it has shape (9, 4); a row for each of the 11 classes is needed"),
    "flat array": (_array(ROWS[:, 0]), "it has shape (11,); a row for each of the 11 classes is needed"),
    "array of text": (_array(np.array([["a"]] * 11)), "it holds no real numbers"),
    "array of complex numbers": (_array(ROWS + 1j), "the array is of type complex128; save it"),
    "array of objects": (_array(np.array([[None]] * 11)), "the array holds Python objects"),
    "no array": (lambda path, data: path.write_bytes(b"not an array"), "cannot be read as .npy (ValueError"),
    "nothing": (lambda path, data: path.write_bytes(b""), "cannot be read as .npy (ValueError"),
    "cut archive": (lambda path, data: path.write_bytes(b"PK\x03\x04 cut"), "cannot be read as .npy (BadZipFile"),
    "cut array": (
        lambda path, data: cut(path, ROWS),
        "the array declares 352 bytes of values and has 344; it is damaged",
    ),
    "archive": (
        lambda path, data: archive(path),
        "rows, others all fit the 11 classes; choose one",
    ),
    "nan": (_array(np.where(np.arange(11)[:, None] == 3, np.nan, ROWS)), "the embedding of class {3} is zero or not"),
    "zeros": (_array(ROWS * (np.arange(11)[:, None] != 5)), "the embedding of class {5} is zero or not finite"),
    "missing class": (_text(lambda given, data: given[1:]), "it has no line for class {0}"),
    "misspelt class": (
        _text(lambda given, data: [given[0].replace("class", "clas"), *given[1:]]),
        "it has no line for class {0}; did you mean '011.clas' for {0}?",
    ),
    "class twice": (_text(lambda given, data: [*given, given[2]]), "line 12: class {2} comes a second time"),
    "short line": (
        _text(lambda given, data: [*given[:4], given[4].rpartition(" ")[0], *given[5:]]),
        "class {4} has 3 values, others have 4",
    ),
    "only names": (_text(lambda given, data: data.class_names), "class {0} has 0 values, others have 0"),
    "words": (
        _text(lambda given, data: [*given[:2], f"{data.class_names[2]} a b c d", *given[3:]]),
        "line 3 ({2}), value 1: 'a' is no number",
    ),
    "nan in text": (
        _text(lambda given, data: [f"{name} nan 1" for name in data.class_names]),
        "line 1 ({0}), value 1: 'nan' is no number",
    ),
    "not UTF-8": (
        lambda path, data: path.with_suffix(".txt").write_bytes(b"\xff\xfe\x00"),
        "cannot be read as text (UnicodeDecodeError",
    ),
    "empty text": (_text(lambda given, data: []), "it is empty"),
}


def cut(path: Path, rows: Any) -> None:
    np.save(path, rows)
    path.write_bytes(path.read_bytes()[:-8])


def archive(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, rows=ROWS, others=ROWS)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_that_names_it(data: ZSLData, tmp_path: Path, case: str) -> None:
    write, message = BAD[case]
    write(tmp_path / "bad.npy", data)
    [path] = tmp_path.glob("bad.*")
    with pytest.raises(DataError) as error:
        with_semantics(data, str(path))
    said = str(error.value)
    for number in range(11):
        message = message.replace(f"{{{number}}}", repr(data.class_names[number]))
    assert said.startswith(f"{path}: ") and message in said and "\n" not in said


def test_a_large_file_of_other_words_is_not_recited(
    data: ZSLData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("\n".join(f"word{i} 1 2" for i in range(500)))
    for listed in (1000, 100):
        monkeypatch.setattr(names, "LISTED", listed)
        with pytest.raises(DataError) as error:
            with_semantics(data, str(path))
        some = ", ".join(map(repr, data.class_names[:10]))
        assert str(error.value) == f"{path}: it has no line for 11 classes ({some} and 1 more)"


def test_what_is_neither_a_name_nor_a_file_is_a_wrong_command(data: ZSLData, tmp_path: Path) -> None:
    for given in ("atts", str(tmp_path), str(tmp_path / "nowhere.npy")):
        with pytest.raises(UsageError) as error:
            with_semantics(data, given)
        assert (
            str(error.value) == f"--semantics {given}: that is no file; give att, original, or a file of arrays or text"
        )


def test_originals_that_are_not_there_or_of_another_shape_are_said_so(data: ZSLData) -> None:
    with pytest.raises(DataError, match="data set TOY has only its normalised class embeddings"):
        with_semantics(replace(data, original_semantics=None), "original")
    with pytest.raises(
        DataError, match=r"those of data set TOY have shape \(10, 6\), but the normalised ones \(11, 6\)"
    ):
        with_semantics(replace(data, original_semantics=data.original_semantics[:10]), "original")
    broken = data.original_semantics.copy()
    broken[4, 2] = np.nan
    with pytest.raises(DataError, match="TOY: class embeddings: 1 values are NaN or infinite, the first in row 5"):
        with_semantics(replace(data, original_semantics=broken), "original")


def test_runs_with_other_class_embeddings_are_other_runs(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", ROWS)
    np.save(tmp_path / "same.npy", 7 * ROWS)
    np.save(tmp_path / "other.npy", ROWS + 0.1)
    files = [str(tmp_path / name) for name in ("one.npy", "other.npy")]
    specs, given = {}, ["att", "original", *files, str(tmp_path / "same.npy")]
    for semantics in given:
        [row] = plan(["eszsl"], [str(folder)], Request(root=tmp_path, semantics=semantics))
        [job] = row.runs
        assert job.entrant.semantics == semantics  # where a worker process finds them
        specs[semantics] = job.spec
    *different, same = (specs[semantics] for semantics in given)
    assert len({spec.id for spec in different}) == len({spec.fingerprint for spec in different}) == 4
    assert same.id == specs[files[0]].id  # after normalisation it is the same data under another name
    assert [spec.semantics for spec in specs.values()] == ["att", "original", "one", "other", "same"]


@pytest.fixture
def needy(monkeypatch: pytest.MonkeyPatch) -> Entry:
    """ESZSL as if it needed attributes, as DAP does."""
    entry = registry().entry("method", "eszsl")
    changed = replace(entry, card=replace(entry.card, needs_attributes=True))
    monkeypatch.setitem(registry()._entries, ("method", "eszsl"), changed)
    return changed


@pytest.mark.usefixtures("needy")
def test_a_method_that_needs_attributes_is_refused_where_there_are_none(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "words.npy"
    np.save(path, ROWS)
    reason = "ESZSL needs attributes, and the class embeddings of TOY are none"
    wanted = resolve(["eszsl", "sae"], [str(folder)], Request(root=tmp_path, semantics=str(path)))
    assert [configuration.refusal for configuration in wanted] == [reason, ""]
    with pytest.raises(NotApplicable, match=reason):
        wanted[0].check_refusal()
    refused, other = plan(["eszsl", "sae"], [str(folder)], Request(root=tmp_path, semantics=str(path)))
    assert (refused.runs, refused.refusal, other.refusal) == ([], reason, "") and other.runs
    np.save(path, np.abs(ROWS))
    [accepted] = plan(["eszsl"], [str(folder)], Request(root=tmp_path / ".", semantics=f"{tmp_path}/./words.npy"))
    assert accepted.runs and accepted.refusal == ""
