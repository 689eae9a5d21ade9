"""`evaluate`: scores made by any other code, in four formats, against independent figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from outside import CHEAP, Answer, Inside
from synthetic import make_xlsa17

GOLDEN = {  # percent, computed independently in float64; they came with the score files
    "cub_fclswgan": (56.110, 45.079, 55.512, 49.754, 34.476),
    "cub_lago": (55.900, 24.555, 64.792, 35.614, 33.150),
}
METRICS = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc")
SEEN, UNSEEN = [0, 1, 3, 6, 7, 8, 9], [2, 4, 5]


def metrics_of(answer: Answer) -> dict[str, float]:
    assert answer.status == 0, answer.err
    [record] = json.loads(answer.out)["runs"]
    return dict(record["metrics"])


@pytest.mark.parametrize("name", GOLDEN)
def test_published_scores_give_the_figures_computed_independently(inside: Inside, real_data: Path, name: str) -> None:
    scores = real_data.parent / "scores" / f"{name}.npz"
    if not scores.is_file():
        pytest.skip(f"no score file {scores}")
    metrics = metrics_of(inside("evaluate", scores, "-d", "cub", "--data-root", real_data, "--json"))
    for metric, expected in zip(METRICS, GOLDEN[name], strict=True):
        assert 100 * metrics[metric] == pytest.approx(expected, abs=0.005), metric


class Scores:
    """Made-up scores of every test image of digits, for digits 0 to 9, and what they come to."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        labels = load_digits().target
        rank = np.array([int((labels[:i] == label).sum()) for i, label in enumerate(labels)])
        is_unseen = np.isin(labels, UNSEEN)
        rows = np.flatnonzero(is_unseen | (rank % 5 == 4))
        random = np.random.default_rng(0)
        self.images: NDArray[np.int64] = random.permutation(rows) + 1
        self.labels = labels[self.images - 1]
        self.scores = random.normal(size=(len(rows), 10))
        self.scores[np.arange(len(rows)), self.labels] += 1.0

    def expected(self) -> dict[str, float]:
        choice = self.scores.argmax(axis=1)
        among_unseen = np.array(UNSEEN)[self.scores[:, UNSEEN].argmax(axis=1)]
        ut = float(np.mean([(choice[self.labels == c] == c).mean() for c in UNSEEN]))
        st = float(np.mean([(choice[self.labels == c] == c).mean() for c in SEEN]))
        uu = float(np.mean([(among_unseen[self.labels == c] == c).mean() for c in UNSEEN]))
        return {"acc_uu": uu, "acc_ut": ut, "acc_st": st, "h": 2 * ut * st / (ut + st)}


@pytest.fixture(scope="module")
def made() -> Scores:
    return Scores()


def write_npz(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.savez(folder / "mine.npz", scores=scores, images=images)
    return [folder / "mine.npz"]


def write_npy(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.save(folder / "mine.npy", scores)
    np.savetxt(folder / "images.txt", images, fmt="%d")
    return [folder / "mine.npy", "--images", folder / "images.txt"]


def write_npy_twice(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.save(folder / "mine.npy", scores)
    np.save(folder / "images.npy", images)
    return [folder / "mine.npy", "--images", folder / "images.npy"]


def write_csv(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    """Columns in reverse order: the header decides."""
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(str(digit) for digit in range(9, -1, -1))])
        writer.writerows([int(image), *row[::-1].tolist()] for image, row in zip(images, scores, strict=True))
    return [folder / "mine.csv"]


def write_safetensors(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    arrays = {"scores": np.ascontiguousarray(scores), "images": np.ascontiguousarray(images)}
    safetensors.numpy.save_file(arrays, folder / "mine.safetensors")
    return [folder / "mine.safetensors"]


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
    assert "row 3 lacks a score" in said("ragged.csv", b"image,0\n1,2\n2\n")
    assert "could not convert string to float" in said("text.csv", b"image,0\n1,two\n")
    assert "its classes are not those of the data set" in said("foreign.csv", b"image,zero\n1,2\n")
    assert "cannot be read as CSV" in said("empty.csv", b"")
    assert "scores are read from .npz, .npy, .csv or .safetensors, not from .txt" in said("scores.txt", b"", status=2)
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
    assert "allow_pickle=False" in answer.error()


def test_saved_scores_stand_beside_runs_marked_as_made_elsewhere(
    inside: Inside, tmp_path: Path, made: Scores, store: Path
) -> None:
    arguments = ["evaluate", *write_npz(tmp_path, made.scores, made.images), "-d", "digits", "--name", "theirs"]
    assert inside(*arguments).status == 0
    assert not store.exists()  # nothing is kept unless asked for
    assert inside(*arguments, "--save", "--setting", "transductive").status == 0

    answer = inside("compare", "eszsl", "external:theirs", *CHEAP, "--json")
    ours, theirs = json.loads(answer.out)["summary"]
    assert (ours["method"], theirs["method"]) == ("eszsl", "external:theirs")
    for name, expected in made.expected().items():
        assert theirs["metrics"][name] == {"mean": pytest.approx(expected, abs=1e-12), "std": 0, "n": 1}
    table = inside("compare", "eszsl", "external:theirs", *CHEAP, "--plain").out
    [line] = [line for line in table.splitlines() if line.startswith("theirs") or "external:theirs" in line]
    assert "(scores made elsewhere)" in line
    assert "transductive" in line

    [record] = [r for r in json.loads(inside("show", "--json").out) if r["spec"]["method"] == "external:theirs"]
    assert record["training"] is None
    assert inside("show", record["id"], "--plain").status == 0


def test_saved_scores_can_be_compared_alone_but_not_on_other_data(inside: Inside, tmp_path: Path, made: Scores) -> None:
    inside("evaluate", *write_npz(tmp_path, made.scores, made.images), "-d", "digits", "--name", "theirs", "--save")
    alone = json.loads(inside("compare", "external:theirs", "-d", "digits", "--json").out)
    assert [row["method"] for row in alone["summary"]] == ["external:theirs"]

    folder = make_xlsa17(tmp_path, "MINE")
    for methods in (["external:theirs"], ["eszsl", "external:theirs"]):
        answer = inside("compare", *methods, "-d", folder)
        assert answer.status == 2
        assert answer.error().startswith("the scores 'external:theirs' are of digits, not of ")
    answer = inside("compare", "external:theirs", "-d", "digits", "--on", "validation")
    assert answer.status == 2
    assert answer.error().startswith("--on validation: scores made elsewhere are of test images")
    searches = inside("compare", "eszsl", "external:thers", "-d", "digits", "--tuned", "--folds", "1")
    assert "no stored scores 'external:thers'" in searches.error()
    assert "tuning eszsl" not in searches.err
    near = inside("compare", "external:thers", "-d", "digits")
    assert near.status == 2
    assert "did you mean 'external:theirs'?" in near.error()


def test_of_scores_saved_again_under_one_name_the_latest_is_compared(
    inside: Inside, tmp_path: Path, made: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = []
    for day in (1, 2, 3, 4):
        pretend(monkeypatch, day)
        scores = made.scores + np.random.default_rng(day).normal(size=made.scores.shape)
        arguments = write_npz(tmp_path, scores, made.images)
        saved = inside("evaluate", *arguments, "-d", "digits", "--name", "theirs", "--save", "--json")
        values.append(metrics_of(saved)["ausuc"])
    answer = inside("compare", "eszsl", "external:theirs", *CHEAP, "--json")
    assert json.loads(answer.out)["summary"][1]["metrics"]["ausuc"]["mean"] == values[-1]


def pretend(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    """Sets the clock that records are stamped by."""
    import datetime as clock

    import zslbench.runs.external

    class Stopped(clock.datetime):
        @classmethod
        def now(cls, tz: clock.tzinfo | None = None) -> Stopped:
            return cls(2026, 1, day, tzinfo=tz)

    monkeypatch.setattr(zslbench.runs.external, "datetime", Stopped)
