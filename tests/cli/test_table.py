"""`table gbu` on digits: its formats, what it runs and does not run, its page, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from outside import Inside, command, distribution, start

from zslbench.runs.resolve import method_class

TWO = ("table", "gbu", "-d", "digits", "--methods", "eszsl sae", "--seeds", "1")
METRICS = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc", "h_cal")


def records(store: Path) -> dict[str, tuple[int, dict[str, Any]]]:
    """Returns when each record was written, and its content."""
    found = store.glob("runs/*/record.json")
    return {path.parent.name: (path.stat().st_mtime_ns, json.loads(path.read_text())) for path in found}


def metrics_of(store: Path) -> dict[str, dict[str, float]]:
    return {content["spec"]["method"]: content["metrics"] for _, content in records(store).values()}


def numbers(out: str) -> list[dict[str, str]]:
    """Returns the rows of a CSV without what differs from one execution to the next."""
    rows = list(csv.DictReader(io.StringIO(out)))
    return [{k: v for k, v in row.items() if k not in ("seconds", "peak_memory_mb")} for row in rows]


def command_on(page: Path) -> list[str]:
    """Returns the words of the command that a page says it is from, `zslbench` left out."""
    [written] = re.findall(r"^    zslbench (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return shlex.split(written)


def test_every_format_shows_the_same_records_and_only_the_first_call_runs_anything(inside: Inside, store: Path) -> None:
    plain = inside(*TWO)
    assert plain.status == 0
    before = records(store)
    assert len(before) == 2
    found = metrics_of(store)
    shown = {name: [f"{100 * metrics[m]:.1f}" for m in METRICS] for name, metrics in found.items()}
    for option in ("--text", "--markdown", "--latex", "--csv", "--json", "--html"):
        answer = inside(*TWO, option)
        assert answer.status == 0
        assert answer.err == "2 of 2 runs were stored already\n"
        if option == "--text":
            words = re.sub(r"[*-]+", " ", plain.out).split()  # which neither marks what is best nor aligns figures
            assert re.sub(r"[*-]+", " ", answer.out.replace("*: best of its column.", "")).split() == words
        elif option == "--csv":
            rows = list(csv.DictReader(io.StringIO(answer.out)))
            assert [row["method"] for row in rows] == ["ESZSL", "SAE"]
            for row in rows:
                assert {m: float(row[m]) for m in METRICS} == pytest.approx(
                    {m: found[row["label"]][m] for m in METRICS}
                )
        elif option == "--json":
            [table] = json.loads(answer.out)
            assert [row["label"] for row in table["rows"]] == ["eszsl", "sae"]
            assert [{m: row[m] for m in METRICS} for row in table["rows"]] == [
                {m: found[name][m] for m in METRICS} for name in ("eszsl", "sae")
            ]
            assert len(table["pairs"]) == 1
        if option in ("--text", "--markdown", "--latex"):
            for title in ("ESZSL", "SAE"):
                [line] = [x for x in answer.out.splitlines() if x.removeprefix("| ").split(" ")[0] == title]
                bare = re.findall(r"(?<![\d.])\d+\.\d(?![\d.])", re.sub(r"\d+\.\d to \d+\.\d", "", line))
                assert bare == shown[title.lower()]
    assert records(store) == before


def test_without_methods_it_is_of_every_method_on_features_and_of_three_seeds(inside: Inside, store: Path) -> None:
    listed = json.loads(inside("list", "methods", "--json").out)
    names = [method["name"] for method in listed if method["input"] == "features"]
    assert 0 < len(names) < len(listed)
    answer = inside("table", "gbu", "-d", "digits", "--existing", "only-cached", "--csv")
    assert answer.status == 0
    assert [row["label"] for row in csv.DictReader(io.StringIO(answer.out))] == names
    runs = sum(1 if method_class(name).deterministic else 3 for name in names)
    assert f"{runs} of {runs} runs are not stored" in answer.err
    assert records(store) == {}


def test_methods_may_be_divided_or_given_again(inside: Inside) -> None:
    cached = ("-d", "digits", "--existing", "only-cached", "--csv")
    answer = inside("table", "gbu", "-m", "eszsl,sae@f2s", "-m", " devise:epochs=1,lr=0.1 ", *cached)
    labels = [row["label"] for row in csv.DictReader(io.StringIO(answer.out))]
    assert labels == ["eszsl", "sae@f2s", "devise:epochs=1,lr=0.1"]


def test_a_method_that_cannot_be_loaded_and_that_nobody_asked_for_costs_a_line(tmp_path: Path) -> None:
    source = """
        from zslbench import MethodCard
        def zslbench_register(registry):
            registry.method("broken", "nowhere:Broken", MethodCard(title="Broken", paper="none"))
        """
    path = distribution(tmp_path, "broken", source)
    cached = ("-d", "digits", "--existing", "only-cached", "--csv")
    answer = command("table", "gbu", *cached, path=path)
    assert answer.status == 0
    labels = [row["label"] for row in csv.DictReader(io.StringIO(answer.out))]
    assert "eszsl" in labels and "broken" not in labels
    [line] = [line for line in answer.err.splitlines() if "broken" in line]
    assert line.startswith("method 'broken' of plugin 'broken:plugin' cannot be loaded from nowhere:Broken")


def test_killed_it_goes_on_where_it_stopped_and_gives_what_it_gives_undisturbed(
    inside: Inside, store: Path, tmp_path: Path
) -> None:
    four = ("table", "gbu", "-d", "digits", "-m", "eszsl devise:epochs=5", "-m", "sae ale:epochs=5", "--seeds", "2")
    with start(*four, "--csv") as process:
        assert process.stderr is not None
        next(line for line in process.stderr if line.startswith("[3/6] "))
        process.kill()
    assert process.returncode == -9
    kept = records(store)
    assert 2 <= len(kept) < 6

    page = tmp_path / "page.md"
    answer = command(*four, "--json", "--page", page)

    assert answer.status == 0, answer.err
    [table] = json.loads(answer.out)  # and nothing else is on standard output
    assert [row["label"] for row in table["rows"]] == ["eszsl", "devise:epochs=5", "sae", "ale:epochs=5"]
    assert [row["seeds"] for row in table["rows"]] == [1, 2, 1, 2]
    assert f"{len(kept)} of 6 runs were stored already" in answer.err.splitlines()
    assert answer.err.splitlines()[-1] == f"wrote {page}, {tmp_path / 'page-digits.svg'}"
    assert len(records(store)) == 6
    assert records(store).items() >= kept.items()  # nothing that was finished is lost or written again

    again = inside(*four, "--csv", "--page", tmp_path / "again.md")
    assert (tmp_path / "again-digits.svg").read_bytes() == (tmp_path / "page-digits.svg").read_bytes()
    undisturbed = inside(*four, "--csv", "--store", tmp_path / "undisturbed")
    assert numbers(again.out) == numbers(undisturbed.out)


def test_what_fails_costs_its_own_row(inside: Inside, tmp_path: Path) -> None:
    """One SGD step of 1e38 makes the weights so large that the next loss is infinite."""
    failing = ("--methods", "devise:optimizer=sgd,lr=3e38,epochs=2", *TWO[4:])
    answer = inside("table", "gbu", "-d", "digits", *failing, "--csv", "--page", tmp_path / "page.md")
    assert answer.status == 1
    assert "became NaN or infinite" in answer.err.splitlines()[-1]
    rows = list(csv.DictReader(io.StringIO(answer.out)))
    assert [(row["method"], row["seeds"], bool(row["ausuc"])) for row in rows] == [
        ("DeViSE", "0", False),
        ("ESZSL", "1", True),
        ("SAE", "1", True),
    ]
    assert "| none " in (tmp_path / "page.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--page", "{tmp}/nowhere/page.md"], "--page {tmp}/nowhere/page.md: there is no folder {tmp}/nowhere"),
        (["--page", "{tmp}"], "--page {tmp}: is a folder"),
        (["--csv", "--latex"], "--latex and --csv: give one of them"),
        (["--json", "--text"], "--text and --json: give one of them"),
        (["--on", "validation"], "--on validation: `table gbu` is of test images"),
        (["--seed", "1"], "--seed and --seeds: give one of them"),
        (["--csv", "--html"], "--csv and --html: give one of them"),
        (["--metrics", "h,ausc"], "--metrics: unknown metric 'ausc'; did you mean 'ausuc'"),
        (["-m", "eszl"], "unknown method 'eszl'; did you mean 'eszsl'"),
        (["-m", "sae:lamb=1"], "method 'sae' has no parameter 'lamb'; did you mean 'lam'?"),
        (["-m", "external:mine"], "no stored scores 'external:mine'"),
        (["-d", "digit"], "unknown data set 'digit'; did you mean 'digits'?"),
    ],
)
def test_what_is_wrong_is_refused_in_one_line_before_anything_runs(
    inside: Inside, store: Path, tmp_path: Path, more: list[str], said: str
) -> None:
    answer = inside(*TWO, *(word.format(tmp=tmp_path) for word in more))
    assert answer.status == 2
    assert answer.error().startswith(said.format(tmp=tmp_path))
    assert records(store) == {}


def test_an_unknown_table_names_those_there_are(inside: Inside) -> None:
    answer = inside("table", "gbo")
    assert answer.status == 2
    assert "'gbu'" in answer.error()


def test_tuned_rows_say_what_was_tuned_and_how_and_the_test_peek_gap(
    inside: Inside, store: Path, tmp_path: Path
) -> None:
    quick = ("--tuned", "--trials", "1", "--folds", "1", "--search", "epochs=1,2", "--oracle")
    page = tmp_path / "tuned.md"
    one = ("table", "gbu", "-d", "digits", "--methods", "devise", "--seeds", "1", *quick, "--page", page)
    answer = inside(*one)
    assert answer.status == 0
    lines = answer.out.splitlines()
    chosen = "hyper-parameters and the number of epochs were chosen on validation classes"
    assert f"{chosen}: 1 trials, ausuc, 1 fold." in lines
    assert lines[1].endswith("test-peek gap, AUSUC")
    [tested] = [c for _, c in records(store).values() if c["params_from"].startswith("tuned: 1 trials, ausuc, 1 fold")]
    assert tested["spec"]["on"] == "test"
    assert tested["params"]["epochs"] in (1, 2)
    text = page.read_text(encoding="utf-8")
    [chosen] = [line for line in text.splitlines() if "1, 0 pruned" in line]
    assert f"epochs={tested['params']['epochs']} " in chosen
    assert f"| {100 * tested['metrics']['ausuc']:.1f} " in chosen

    before = records(store)
    inside(*command_on(page), "--page", tmp_path / "again.md")
    assert records(store) == before
    assert (tmp_path / "again.md").read_text(encoding="utf-8") == text.replace("tuned-digits", "again-digits")


@pytest.mark.parametrize(
    "changed",
    [
        [],
        ["--fold", "1"],
        ["-p", "lam=3"],
        ["--scale", "zscore", "--seed", "2"],
        ["--semantics-scale", "whiten"],
        ["--preset", "f2s"],
        ["--metrics", "h"],
    ],
)
def test_the_command_on_a_page_gives_that_page_again(
    inside: Inside, store: Path, tmp_path: Path, changed: list[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    seeds = [] if "--seed" in changed else ["--seeds", "1"]
    first = inside("table", "gbu", "-d", "digits", "-m", "sae", *seeds, *changed, "--page", tmp_path / "one/page.md")
    assert first.status == 0
    before = records(store)
    inside(*command_on(tmp_path / "one/page.md"), "--page", tmp_path / "two/page.md")
    assert records(store) == before
    for name in ("page.md", "page-digits.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
