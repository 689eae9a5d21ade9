"""`report` and the formats of `compare`: what they write, of which stores, and what they refuse."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable
from html import unescape
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import Inside
from PIL import Image

import zslbench
from zslbench.errors import UsageError
from zslbench.report.grids import sample_of

DIGITS = ("-d", "digits", "--seeds", "1")


def data_of(page: Path) -> dict[str, Any]:
    """Returns what the scripts of a page read."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def rows_of(page: Path) -> dict[str, list[str]]:
    """Returns the cells of each row of the leaderboards, published lines included, by the text of their heads."""
    text = page.read_text(encoding="utf-8")
    boards = "".join(re.findall(r'<table class="board.*?</table>', text, re.DOTALL))
    rows = re.findall(r'<th scope="row">(.*?)(?:<small>.*?)?</th>(.*?)</tr>', boards, re.DOTALL)
    return {unescape(name): re.findall(r"<td[^>]*>([^<]*)", cells) for name, cells in rows}


def records(store: Path) -> dict[str, tuple[int, str]]:
    return {path.parent.name: (path.stat().st_mtime_ns, path.read_text()) for path in store.glob("runs/*/record.json")}


def test_a_report_changes_no_store_and_asks_for_no_data(
    inside: Inside, store: Path, tmp_path: Path, make_xlsa17: Callable[..., Path]
) -> None:
    folder = make_xlsa17("MINE")
    assert inside("compare", "eszsl", "sae", "-d", folder, "--seeds", "1").status == 0
    before = records(store)
    for path in folder.iterdir():
        path.unlink()
    answer = inside("report", "--out", tmp_path / "report.html")
    assert (answer.status, answer.err) == (0, "")
    assert records(store) == before
    assert sorted(rows_of(tmp_path / "report.html")) == ["ESZSL", "SAE"]


def test_runs_of_two_stores_are_seeds_of_one_row_and_a_run_of_both_counts_once(inside: Inside, tmp_path: Path) -> None:
    one, two, page = tmp_path / "one", tmp_path / "two", tmp_path / "report.html"
    for store, seeds in ((one, (0, 1)), (two, (1, 2))):
        for seed in seeds:
            run = ("run", "devise:epochs=1", "-d", "digits", "--seed", seed, "--store", store)
            assert inside(*run).status == 0
    answer = inside("report", "--store", one, "--store", two, "--out", page)
    assert answer.out.startswith(f"wrote {page}: 3 runs, ")
    [curves] = data_of(page)["sections"][0]["curves"]
    assert [run["seed"] for run in curves["runs"]] == [0, 1, 2]


def test_published_numbers_stand_below_what_compares_with_them_and_nothing_else(
    inside: Inside, store: Path, tmp_path: Path, make_xlsa17: Callable[..., Path]
) -> None:
    folder = make_xlsa17("SUN")
    methods = ("eszsl", "eszsl:gamma=100")
    assert inside("compare", *methods, "-d", folder, "--seeds", "1").status == 0
    printed = json.loads(inside("published", "-m", "eszsl", "-d", "sun", "--json").out)
    [known] = [one for one in printed if one["split"] == "PS" and "H" in one["values"] and "U->U" in one["values"]][:1]
    page = tmp_path / "report.html"
    assert inside("report", "--out", page).status == 0
    rows = list(rows_of(page).items())
    assert [name for name, _ in rows] == [
        "ESZSL",
        f"published on {known['backbone']}, {known['source']}",
        f"difference from {known['backbone']}",
        "ESZSL gamma=100.0",
    ]
    assert f"{known['values']['H']:.1f}" in rows[1][1]
    of_command = tmp_path / "compare.html"
    assert inside("compare", *methods, "-d", folder, "--seeds", "1", "--out", of_command).status == 0
    assert list(rows_of(of_command))[:3] == [name for name, _ in rows][:3]


def test_a_leaderboard_of_export_files_names_the_runs_that_do_not_stand_the_checks(
    inside: Inside, store: Path, tmp_path: Path
) -> None:
    results, out = tmp_path / "results", tmp_path / "report.html"
    results.mkdir()
    assert inside("compare", "eszsl", "sae", *DIGITS).status == 0
    for name in ("eszsl", "sae"):
        assert inside("runs", "export", results / f"{name}.zip", "--filter", f"method={name}").status == 0
    shutil.rmtree(store)
    answer = inside("report", "--from", results, "--out", out)
    assert (answer.status, answer.err) == (0, "")
    assert set(rows_of(out)) == {"ESZSL", "SAE"}
    content = bytearray((results / "sae.zip").read_bytes())
    content[content.index(b'"ausuc"') + 12] ^= 1
    (results / "sae.zip").write_bytes(content)
    answer = inside("report", "--from", results, "--out", out)
    assert answer.status == 1 and "sae.zip" in answer.err.splitlines()[0]
    assert answer.err.splitlines()[-1].startswith("zslbench: 1 of the runs above")
    assert set(rows_of(out)) == {"ESZSL"}
    assert inside("report", "--from", results, "--store", store).error().startswith("--store and --from: give one")
    (tmp_path / "empty").mkdir()
    assert "there is no export file" in inside("report", "--from", tmp_path / "empty").error()


def test_rows_that_differ_in_scaling_alone_are_told_apart(inside: Inside, tmp_path: Path) -> None:
    for scale in ("l2", "zscore"):
        assert inside("run", "eszsl", "-d", "digits", "--scale", scale).status == 0
    page = tmp_path / "report.html"
    assert inside("report", "--out", page).status == 0
    assert sorted(rows_of(page)) == ["ESZSL [scale=l2]", "ESZSL [scale=zscore]"]


def test_runs_on_validation_classes_are_left_out_and_tuned_rows_say_so(inside: Inside, tmp_path: Path) -> None:
    page, quick = tmp_path / "report.html", ("--trials", "2", "--folds", "1", "--search", "epochs=1,2")
    assert inside("tune", "devise", "-d", "digits", *quick).status == 0
    refused = inside("report", "--out", page)
    assert refused.status == 2
    assert "it holds no run on test images" in refused.error() and not page.exists()
    for tuned in ([], ["--tuned", *quick]):
        assert inside("run", "devise", "-d", "digits", *tuned).status == 0
    assert inside("report", "--out", page).out.startswith(f"wrote {page}: 2 runs, 1 search, ")
    assert sorted(rows_of(page)) == ["DeViSE", "DeViSE (tuned)"]
    text = page.read_text(encoding="utf-8")
    assert "tuned by AUSUC on 1 fold" in text
    assert "these rows did not get their hyper-parameters in the same way" in text


def test_scores_made_elsewhere_are_a_row_and_say_how_they_came(inside: Inside, store: Path, tmp_path: Path) -> None:
    data = zslbench.load("digits")
    lines = ["image," + ",".join(data.class_names)]
    for image in [*data.test_seen, *data.test_unseen]:
        scores = data.semantics @ data.semantics[data.labels[image]]
        lines.append(f"{image + 1}," + ",".join(f"{score:.6f}" for score in scores))
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    assert inside("evaluate", tmp_path / "mine.csv", "-d", "digits", "--save").status == 0
    assert inside("run", "eszsl", "-d", "digits").status == 0
    page = tmp_path / "report.html"
    assert inside("report", "--out", page).status == 0
    assert rows_of(page)["external:mine (scores made elsewhere)"][:3] == ["100.0", "100.0", "100.0"]
    assert f"zslbench evaluate {tmp_path / 'mine.csv'} -d digits --name mine" in page.read_text(encoding="utf-8")


def test_methods_and_data_sets_are_chosen_by_name_or_title(inside: Inside, tmp_path: Path) -> None:
    assert inside("compare", "eszsl", "sae", *DIGITS).status == 0
    page = tmp_path / "report.html"
    assert inside("report", "-m", "SAE", "-d", "DIGITS", "--metrics", "h", "--out", page).status == 0
    assert list(rows_of(page)) == ["SAE"]
    assert '<th scope="col" class="right">U-&gt;U</th>' not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "{tmp}/report.pdf"], "--out {tmp}/report.pdf: no format has this ending"),
        (["--out", "{tmp}/no/report.html"], "--out {tmp}/no/report.html: there is no folder {tmp}/no"),
        (["--out", "{tmp}/folder.html"], "--out {tmp}/folder.html: is a folder; name a file in it"),
        (["--store", "{tmp}/nowhere"], "--store {tmp}/nowhere: there is no store"),
        (["-m", "esszl"], "--method esszl: no stored run is of it; did you mean"),
        (["-d", "digit"], "--dataset digit: no stored run is of it; did you mean 'digits'"),
        (["--metrics", "ausc"], "--metrics: unknown metric 'ausc'"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(
    inside: Inside, tmp_path: Path, words: list[str], said: str
) -> None:
    assert inside("run", "eszsl", "-d", "digits").status == 0
    (tmp_path / "folder.html").mkdir()
    out = [] if "--out" in words else ["--out", "{tmp}/report.html"]
    answer = inside("report", *(word.format(tmp=tmp_path) for word in [*words, *out]))
    assert answer.status == 2
    assert answer.error().startswith(said.format(tmp=tmp_path))
    assert not (tmp_path / "report.html").exists()


def test_compare_has_the_formats_of_table(inside: Inside, tmp_path: Path) -> None:
    methods = ("eszsl", "sae")
    assert inside("compare", *methods, *DIGITS).status == 0
    table = ("table", "gbu", *DIGITS, "-m", " ".join(methods))
    for option in ("--text", "--markdown", "--latex", "--csv"):
        assert inside("compare", *methods, *DIGITS, option).out == inside(*table, option).out
    for ending, option in ((".md", "--markdown"), (".tex", "--latex"), (".csv", "--csv"), (".txt", "--text")):
        path = tmp_path / f"table{ending}"
        answer = inside("compare", *methods, *DIGITS, "--out", path)
        assert answer.err.splitlines()[-1] == f"wrote {path}"
        assert answer.out == inside("compare", *methods, *DIGITS).out
        assert path.read_text(encoding="utf-8") == inside("compare", *methods, *DIGITS, option).out
    page = inside("compare", *methods, *DIGITS, "--html").out
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")
    assert "zslbench compare eszsl sae --dataset digits --seeds 1 --html" in page
    both = inside("compare", *methods, *DIGITS, "--json", "--out", tmp_path / "rows.csv")
    assert len(json.loads(both.out)["runs"]) == 2
    read = csv.DictReader(StringIO((tmp_path / "rows.csv").read_text()))
    assert [row["label"] for row in read] == list(methods)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--csv", "--latex"], "--latex and --csv: give one of them"),
        (["--json", "--html"], "--html and --json: give one of them"),
        (["--out", "table.doc"], "--out table.doc: no format has this ending"),
    ],
)
def test_compare_refuses_what_it_cannot_write_before_anything_runs(
    inside: Inside, store: Path, words: list[str], said: str
) -> None:
    answer = inside("compare", "eszsl", *DIGITS, *words)
    assert answer.status == 2
    assert answer.error().startswith(said)
    assert not store.exists()


def test_what_failed_is_in_the_report_of_its_command(inside: Inside, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    answer = inside("compare", "devise:optimizer=sgd,lr=3e38,epochs=2", "sae", *DIGITS, "--out", page)
    assert answer.status == 1
    text = page.read_text(encoding="utf-8")
    assert "What failed" in text and "became NaN or infinite" in text
    assert sorted(rows_of(page)) == ["DeViSE optimizer=sgd lr=3e38 epochs=2", "SAE"]


def test_results_are_saved_from_python_as_from_the_command_line(inside: Inside, store: Path, tmp_path: Path) -> None:
    results = zslbench.compare(["eszsl", "sae"], dataset="digits", seeds=1, on_event=None)
    for ending in ("md", "tex", "csv", "json"):
        assert results.save(tmp_path / f"python.{ending}").stat().st_size
        assert inside("report", "--out", tmp_path / f"stored.{ending}").status == 0
        of_python, of_store = ((tmp_path / f"{name}.{ending}").read_text() for name in ("python", "stored"))
        assert of_python == of_store
    stored = zslbench.stored(store)
    assert [result.id for result in stored] == [result.id for result in results]
    assert stored.summary()["ausuc"].tolist() == results.summary()["ausuc"].tolist()
    with pytest.raises(UsageError, match=r"no format has this ending; give a name that ends in \.html"):
        results.save(tmp_path / "table.xls")
    with pytest.raises(UsageError, match="no store is named"):
        zslbench.stored()


@pytest.mark.parametrize(
    "given",
    [
        ("sae@f2s",),
        ("devise:epochs=1,optimizer=sgd,lr=0.01",),
        ("eszsl", "--scale", "l2", "--semantics-scale", "whiten", "--uncalibrated"),
        ("eszsl", "--seed", "3", "-p", "gamma=10"),
    ],
)
def test_the_command_of_a_run_finds_that_run(
    inside: Inside, store: Path, tmp_path: Path, given: tuple[str, ...]
) -> None:
    assert inside("run", *given, "-d", "digits").status == 0
    path = tmp_path / "report.html"
    assert inside("report", "--out", path).status == 0
    [command] = re.findall(r'<pre class="command">(zslbench run .*?)</pre>', path.read_text(encoding="utf-8"))
    again = inside(*shlex.split(command)[1:], "--existing", "only-cached")
    assert again.err == "1 of 1 runs were stored already\n"


def test_pictures_of_reconstructions_are_few_and_small() -> None:
    """Twelve images of unseen classes, each of its own grey, and four of seen classes."""
    greys = np.arange(16, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 100, 100), np.uint8)
    arrays = {"rows": np.arange(16), "unseen": np.arange(16) < 12, "originals": greys, "made": 255 - greys}
    picture = sample_of({f"reconstruction/{name}": array for name, array in arrays.items()}, 5)
    assert picture is not None
    shown = np.asarray(Image.open(BytesIO(picture)))
    size = 64 + 2
    assert shown.shape == (4 * size - 2, 5 * size, 3)
    middles = shown[32::size, 33::size, 0]
    assert middles[0].tolist() == [0, 3, 6, 8, 11] and middles[2].tolist() == [12, 13, 14, 15, 255]
    assert (middles[1] == 255 - middles[0]).all()
    assert sample_of({}, 5) is None


def test_data_that_changed_are_a_section_of_their_own(
    inside: Inside, tmp_path: Path, make_xlsa17: Callable[..., Path]
) -> None:
    def doubled(files: dict[str, dict[str, Any]]) -> None:
        files["res101"]["features"] *= 2

    for edit, method in ((None, "eszsl"), (doubled, "sae")):
        assert inside("run", method, "-d", make_xlsa17("MINE", edit=edit)).status == 0
    page = tmp_path / "report.html"
    assert inside("report", "--out", page).status == 0
    assert page.read_text(encoding="utf-8").count("<h2>MINE</h2>") == 2


def test_a_tuned_row_without_its_search_still_says_that_it_is_tuned(
    inside: Inside, store: Path, tmp_path: Path
) -> None:
    quick = ("--tuned", "--trials", "1", "--folds", "1", "--search", "epochs=1,2")
    assert inside("run", "devise", "-d", "digits", *quick).status == 0
    for path in store.glob("tuned/*.json"):
        path.unlink()
    page = tmp_path / "report.html"
    assert inside("report", "--out", page).status == 0
    assert list(rows_of(page)) == ["DeViSE (tuned)"]
    assert "tuned by a search that is not at hand" in page.read_text(encoding="utf-8")
