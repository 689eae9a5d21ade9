"""`zslbench data build` with what people have: the same numbers, or the reason why there are none."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from outside import Answer, Inside
from pictures import write_folder

NAMES = ["black bear", "blue-whale", "café", "otter", "siamese_cat", "wolf", "zebra"]
HEADS = ["furry", "größe", "swims"]
VALUES = [[1, 2.5, 0], [0, 10, 1], [0.25, 0, 3], [2, 0.125, 4], [1.5, 0.75, 0], [3, 0.5, 0], [1, 1.25, 0.5]]


class Own:
    """Builds data sets below a folder, and reads what is in them."""

    def __init__(self, folder: Path, inside: Inside) -> None:
        self.folder, self.inside = folder, inside
        self.images = write_folder(folder / "images", dict.fromkeys(NAMES, 4))
        self.table = folder / "table.csv"
        self.write(rows())

    def write(
        self, cells: list[list[object]], separator: str = ",", comma: bool = False, encoding: str = "utf-8"
    ) -> None:
        """Writes a table, numbers with decimal commas if these are wanted."""
        texts = [
            [str(cell).replace(".", ",") if comma and not isinstance(cell, str) else str(cell) for cell in row]
            for row in cells
        ]
        self.table.write_bytes("\r\n".join(map(separator.join, texts)).encode(encoding))

    def build(self, *options: object, name: str = "set") -> Answer:
        """Makes a data set of the images and the table."""
        given = ("--images", self.images, "--attributes", self.table, "--backbone", "corners", "--plain")
        return self.inside("data", "build", self.folder / name, *given, *options)

    def content(self, name: str = "set") -> dict[str, Any]:
        """Returns what was written, by SciPy's reader."""
        files = ("att_splits.mat", "corners.mat")
        found = {key: value for file in files for key, value in scipy.io.loadmat(self.folder / name / file).items()}
        content = {
            key: value.tolist()
            for key, value in found.items()
            if key[:2] != "__" and key != "source" and value.dtype != object
        }
        return content | {
            key: [str(cell[0]) for cell in found[key].ravel()] for key in ("allclasses_names", "attribute_names")
        }


def rows(names: list[str] = NAMES, heads: list[str] = HEADS) -> list[list[object]]:
    return [["class", *heads], *([name, *values] for name, values in zip(names, VALUES, strict=True))]


@pytest.fixture
def own(tmp_path: Path, inside: Inside, corners: None) -> Own:
    return Own(tmp_path, inside)


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


WAYS: dict[str, tuple[dict[str, Any], list[list[object]], list[str]]] = {
    "semicolons and decimal commas": (
        {"separator": ";", "comma": True, "encoding": "cp1252"},
        rows(),
        ["read with Windows-1252 (Latin-1), because it is not UTF-8, and ';' between cells and decimal commas"],
    ),
    "UTF-16 and tabs": ({"separator": "\t", "encoding": "utf-16"}, rows(), ["read with UTF-16 and tabs between cells"]),
    "a mark": ({"encoding": "utf-8-sig"}, rows(), []),
    "transposed": (
        {},
        [list(column) for column in zip(*rows(), strict=True)],
        ["read with rows and columns exchanged"],
    ),
    "row numbers": (
        {},
        [[i - 1 if i else "", *row] for i, row in enumerate(rows())],
        ["read with row numbers left out"],
    ),
    "other order": ({}, [rows()[0], *rows()[:0:-1]], []),
    "blanks and case": (
        {},
        rows(["Black_Bear", "blue whale", "CAFÉ", "Otter", "Siamese Cat", "WOLF", "Zebra"]),
        ["blanks, '_', '+' and '-' and case: 'Black_Bear' is taken for 'black bear', and likewise 6 more"],
    ),
    "accents apart": ({}, rows(list(map(decomposed, NAMES))), ["names are matched without regard to Unicode forms"]),
    "further rows": (
        {},
        [*rows(), ["unicorn", 1, 2, 3], ["dodo", 0, 0, "?"], ["Source: my own eyes", "", "", ""]],
        ["warning: ", "3 classes ('unicorn', 'dodo', 'Source: my own eyes') are not in the data; they are left out"],
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_numbers_are_the_same_however_the_table_is_written(own: Own, way: str) -> None:
    assert own.build().status == 0
    how, cells, said = WAYS[way]
    own.write(cells, **how)
    answer = own.build(name="other")
    assert answer.status == 0, answer.err
    assert own.content("other") == own.content()
    assert own.content()["original_att"] == np.transpose(VALUES).tolist()
    assert own.content()["attribute_names"] == HEADS
    assert len(answer.err.splitlines()) == bool(said)
    assert all(part in answer.err for part in said)


def test_a_table_without_a_head_has_the_same_numbers_and_numbered_attributes(own: Own) -> None:
    own.write(rows()[1:])
    answer = own.build()
    assert answer.status == 0
    assert "read with no head line" in answer.err
    assert own.content()["original_att"] == np.transpose(VALUES).tolist()
    assert own.content()["attribute_names"] == ["1", "2", "3"]


def test_folders_with_accents_apart_are_the_same_classes_in_the_same_order(own: Own) -> None:
    assert own.build().status == 0
    (own.images / "café").rename(own.images / decomposed("café"))
    answer = own.build(name="other")
    assert (answer.status, answer.err) == (0, "")
    assert own.content("other") == own.content()
    assert "café" in own.content("other")["allclasses_names"]


def test_columns_that_are_constant_stay_and_are_named_once(own: Own) -> None:
    own.write([[*row, "alive" if not i else 1, "stone" if not i else 0] for i, row in enumerate(rows())])
    answer = own.build()
    assert answer.status == 0
    [line] = answer.err.splitlines()
    assert line.endswith("table.csv: 2 columns are the same for every class, and of no use: 'alive', 'stone'")
    assert line.startswith("warning: ")
    expected = np.hstack([VALUES, np.ones((7, 1)), np.zeros((7, 1))])
    assert own.content()["original_att"] == expected.T.tolist()


CLUTTER = (
    *("__MACOSX/otter/._0.png", ".DS_Store", "Thumbs.db", ".ipynb_checkpoints/0.png", "@eaDir/0.png", "#recycle/0.png"),
    *("otter/._0.png", "otter/.ipynb_checkpoints/0.png", "otter/@eaDir/0.png", "wolf/Thumbs.db", "wolf/~$0.png"),
    *("System Volume Information/0.png", "$RECYCLE.BIN/0.png", "lost+found/0.png", "wolf/desktop.ini"),
)


def test_what_desktops_and_servers_leave_is_no_class_and_no_image(own: Own) -> None:
    assert own.build().status == 0
    for name in CLUTTER:
        (own.images / name).parent.mkdir(parents=True, exist_ok=True)
        (own.images / name).write_bytes(b"clutter")
    answer = own.build(name="other")
    assert (answer.status, answer.err) == (0, "")
    assert own.content("other") == own.content()


def test_files_of_formats_that_are_not_read_are_counted_and_named(own: Own) -> None:
    assert own.build().status == 0
    for name in ("otter/a.heic", "otter/b.HEIC", "wolf/c.CR2", "wolf/d.svg", "wolf/e.pdf", "wolf/notes.txt"):
        (own.images / name).write_bytes(b"x")
    answer = own.build(name="other")
    assert answer.err.splitlines() == [
        f"warning: {own.images}: not read: 1 .cr2, 2 .heic, 1 .pdf and 1 .svg files; convert such files to JPEG or PNG",
        f"{own.images}: no images, and passed over: 1 .txt file",
    ]
    assert own.content("other") == own.content()


def test_classes_with_nothing_that_is_read_are_an_error_that_names_all(own: Own) -> None:
    for name in ("lynx", "moose"):
        (own.images / name).mkdir()
        (own.images / name / "a.heic").write_bytes(b"x")
    answer = own.build()
    assert answer.status == 1
    assert "2 classes ('lynx', 'moose') have only 2 .heic files, which cannot be read; convert" in answer.error()


@pytest.mark.parametrize(
    ("below", "said"),
    [
        (["train", "test"], "'test', 'train' are parts of a split, not classes; merge the folders of each class"),
        (["Train", "VAL", "Test"], "'Test', 'Train', 'VAL' are parts of a split"),
        (
            ["animals"],
            "it has one folder of images, with folders in it ('black bear', 'blue-whale', 'café' and 4 more)",
        ),
    ],
)
def test_folders_that_are_no_classes_are_recognised(own: Own, below: list[str], said: str) -> None:
    for name in below:
        write_folder(own.folder / "nested" / name, dict.fromkeys(NAMES, 2 if name == below[0] else 1))
    own.images = own.folder / "nested"
    answer = own.build()
    assert answer.status == 1
    assert said in answer.error()
    assert answer.error().endswith(f"--images {own.images / below[0]}")


def test_all_that_does_not_match_is_one_line(own: Own) -> None:
    own.write([rows()[0], *rows()[1:4], ["oter", 1, 2, 3], ["wolfe", 1, 2, 3], ["unicorn", 1, 2, 3]])
    line = own.build().error()
    assert "4 classes ('otter', 'siamese_cat', 'wolf', 'zebra') are missing" in line
    assert "; it has 'oter', 'wolfe', 'unicorn' instead" in line
    assert "; did you mean 'oter' for 'otter'?; did you mean 'wolfe' for 'wolf'?" in line


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (
            [["attribute", *(f"the {name}" for name in NAMES)], ["furry", *range(7)]],
            "nor its first row ('the black bear', ",
        ),
        (
            [["number", "class", "x"], *(["7", name, i] for i, name in enumerate(NAMES))],
            "are in column 2 ('class'); move it",
        ),
        (
            [[*rows()[0], "latin"], *([*row, "Ursus"] for row in rows()[1:])],
            "no numbers but words in column 'latin'; remove",
        ),
        ([["My animals", "", ""], ["", "", ""], *rows()], "and nothing may stand above the head"),
    ],
)
def test_a_table_in_another_shape_is_recognised(own: Own, cells: list[list[object]], said: str) -> None:
    own.write(cells)
    assert said in own.build().error()


def test_a_cause_that_lies_in_how_the_table_was_read_is_told(own: Own) -> None:
    own.write(rows(), ";", encoding="mac_roman")
    line = own.build().error()
    assert "did you mean 'cafŽ' for 'café'? (read with Windows-1252 (Latin-1)" in line


def test_unseen_classes_are_printed_and_stand_on_the_card(own: Own) -> None:
    answer = own.build("--unseen-classes", "Zebra,siamese cat")
    assert answer.out.splitlines()[0] == "set: 2 of 7 classes are unseen: siamese_cat, zebra"
    assert "'Zebra' is taken for 'zebra'" in answer.err
    card = tomllib.loads((own.folder / "set" / "card.toml").read_text())
    assert card["source"]["unseen_classes"] == ["siamese_cat", "zebra"]
    assert "'siamese_cat', 'zebra'" in own.inside("data", "describe", own.folder / "set").out
    test = {own.content()["labels"][int(row) - 1][0] for [row] in own.content()["test_unseen_loc"]}
    assert {NAMES[int(label) - 1] for label in test} == {"siamese_cat", "zebra"}


def test_classes_that_were_drawn_are_said_to_be(own: Own) -> None:
    first = own.build("--random-unseen", "0.3", "--seed", "4").out.splitlines()[0]
    card = tomllib.loads((own.folder / "set" / "card.toml").read_text())
    drawn = ", ".join(card["source"]["unseen_classes"])
    assert first == f"set: 2 of 7 classes are unseen: {drawn} (drawn by --seed 4; choose others by --unseen-classes)"


def test_roles_may_name_further_classes_and_be_written_as_people_do(own: Own) -> None:
    roles = own.folder / "roles.csv"
    of = dict.fromkeys(NAMES, "Seen") | {"wolf": "UNSEEN", "zebra": "unseen", "unicorn": "unseen"}
    roles.write_text("Class;Role\n" + "".join(f"{name.title()};{role}\n" for name, role in of.items()))
    answer = own.build("--splits", roles)
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[0] == "set: 2 of 7 classes are unseen: wolf, zebra"
    assert "class 'Unicorn' is not in the data; it is left out" in answer.err
