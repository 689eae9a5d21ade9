"""`tune`, `run --tuned` and `compare --tuned` on digits: what is searched, stored, used, printed and refused."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import Answer, Inside, start

from zslbench.discovery.plugins import registry

DIGITS = ("-d", "digits", "--device", "cpu")
SHORT = ("--trials", "3", "--folds", "2", "--search", "epochs=1,2")
CLOSED = ("--scale", "zscore", "--folds", "2", "--search", "gamma=0.1,10", "--search", "lam=0.01,1")


def document(answer: Answer) -> Any:
    assert answer.status == 0, answer.err
    return json.loads(answer.out)


def log(search: dict[str, Any]) -> list[Any]:
    """Returns the trials of a search without their times."""
    return [{name: value for name, value in trial.items() if name != "seconds"} for trial in search["trials"]]


def test_tune_prints_the_best_trials_and_stores_the_whole_log(inside: Inside, store: Path) -> None:
    answer = inside("tune", "devise", *DIGITS, *SHORT, "--plain")
    assert answer.status == 0
    [path] = (store / "tuned").iterdir()
    stored = json.loads(path.read_text())
    assert stored["method"] == "devise" and len(stored["trials"]) == 3
    heading, head, _, *rows, counts = answer.out.splitlines()
    assert heading == f"devise on digits: tuned: 3 trials, ausuc, 2 folds (search {path.stem}); best first"
    assert head.split() == ["scale", "epochs", "lr", "AUSUC", "folds"]
    means = sorted((100 * np.mean(trial["values"]) for trial in stored["trials"]), reverse=True)
    assert [row.split()[3] for row in rows] == [f"{mean:.1f}" for mean in means]
    assert {row.split()[0] for row in rows} <= {"zscore", "l2"}
    assert {row.split()[1] for row in rows} <= {"1", "2"}
    assert counts.startswith("3 complete, 0 pruned, 0 failed; ")
    assert "tuning devise on digits by AUSUC on validation classes: 3 trials, 2 folds" in answer.err
    assert len(list(store.glob("runs/*/record.json"))) == 6


def test_a_second_call_is_from_the_store_and_a_third_makes_the_trials_that_are_missing(
    inside: Inside, store: Path
) -> None:
    first = document(inside("tune", "devise", *DIGITS, *SHORT, "--json"))
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*.json")}
    again = inside("tune", "devise", *DIGITS, *SHORT, "--json")
    assert document(again) == first and again.err == ""
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.json")} == before
    [more] = document(inside("tune", "devise", *DIGITS, *SHORT, "--trials", "5", "--json"))
    assert more["trials"][:3] == first[0]["trials"] and len(more["trials"]) == 5
    best = max(more["trials"], key=lambda trial: np.mean(trial["values"]))
    assert more["tuned"] == best["params"] and more["value"] == pytest.approx(np.mean(best["values"]))


def test_run_and_compare_use_tuned_values_and_every_record_says_so(inside: Inside, store: Path) -> None:
    [search] = document(inside("tune", "devise", *DIGITS, *SHORT, "--search", "margin=2,3", "--json"))
    more = (*DIGITS, *SHORT, "--search", "margin=2,3", "--tuned", "--json")
    answer = inside("run", "devise", *more)
    [record] = document(answer)["runs"]
    assert "tuning" not in answer.err
    assert record["params_from"] == f"tuned: 3 trials, ausuc, 2 folds (search {search['id']})"
    assert {**record["params"], "scale": record["spec"]["scale"]}.items() >= search["tuned"].items()
    assert record["params"]["margin"] in (2, 3) and record["spec"]["on"] == "test"
    content = document(inside("compare", "devise", *more, "--seeds", "2"))
    assert [run["params_from"] for run in content["runs"]] == [record["params_from"]] * 2
    assert content["runs"][0] == record
    assert content["summary"][0]["tuned"] == {"params": search["tuned"], "origin": record["params_from"]}


def test_compare_tunes_where_there_is_no_search_yet_and_marks_tuned_rows(inside: Inside, store: Path) -> None:
    answer = inside("compare", "eszsl", *DIGITS, *CLOSED, "--tuned", "--seeds", "1", "--plain")
    assert answer.status == 0
    assert "tuning eszsl on digits by AUSUC on validation classes: 4 trials, 2 folds" in answer.err
    assert any(line.startswith("ESZSL (tuned) ") for line in answer.out.splitlines())
    assert len(list((store / "tuned").iterdir())) == 1
    assert len(list(store.glob("runs/*/record.json"))) == 1  # the grid itself needs no runs


def test_the_gap_to_the_oracle_is_not_negative_and_not_marked(inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    methods = ("compare", "devise", "devise:margin=3", *DIGITS, *SHORT, "--tuned", "--oracle", "--seeds", "2")
    content = document(inside(*methods, "--json"))
    gaps = []
    for row, first_seed in zip(content["summary"], content["runs"][::2], strict=True):
        assert first_seed["spec"]["seed"] == 0
        gaps.append(row["oracle"]["ausuc"] - first_seed["metrics"]["ausuc"])
        assert gaps[-1] >= -1e-6  # the tuned point is one of those that the oracle may pick
    answer = inside(*methods)
    assert "test-peek gap, AUSUC" in answer.out
    assert "test-peek gap: how much higher the best of the same trials is if it is picked on test images." in answer.out
    assert "\x1b[1;32m" in answer.out, "the best of a column is marked, or this test says nothing"
    cells = re.findall(r"((?:\x1b\[[\d;]*m)*) *([+-]\d+\.\d)\b", answer.out)
    assert [figure for _, figure in cells] == [f"{100 * gap:+.1f}" for gap in gaps]
    assert all("1;32" not in codes for codes, _ in cells)
    plain = inside(*methods, "--plain").out.splitlines()
    assert [line.split()[-1] for line in plain if line.startswith("DeViSE")] == [f"{100 * gap:+.1f}" for gap in gaps]


def test_the_oracle_of_a_closed_form_is_its_best_test_figure(inside: Inside) -> None:
    content = document(inside("compare", "eszsl", *DIGITS, *CLOSED, "--tuned", "--oracle", "--seeds", "1", "--json"))
    figures = []
    for gamma in (0.1, 10):
        for lam in (0.01, 1):
            run = document(inside("run", f"eszsl:gamma={gamma},lam={lam}", *DIGITS, "--json"))["runs"][0]
            figures.append(run["metrics"]["ausuc"])
    assert content["summary"][0]["oracle"]["ausuc"] == pytest.approx(max(figures), abs=1e-6)


def test_rows_that_were_not_treated_alike_are_warned_about(inside: Inside) -> None:
    warning = "warning: these rows did not get their hyper-parameters in the same way ("
    answer = inside("compare", "eszsl", "sae@f2s", "devise:epochs=1", *DIGITS, "--seeds", "1", "--plain")
    [line] = [line for line in answer.out.splitlines() if line.startswith(warning)]
    assert "eszsl: default" in line and "sae@f2s: preset" in line and "devise:epochs=1: given by hand" in line
    assert line.endswith("; --tuned tunes every row alike.")
    alike = inside("compare", "eszsl", "sae", *DIGITS, "--seeds", "1", "--plain")
    tuned = inside("compare", "sae", "sae@f2s", *DIGITS, "--folds", "1", "--tuned", "--seeds", "1", "--plain",
                   "--search", "lam=1,9")  # fmt: skip
    assert alike.status == tuned.status == 0 and warning not in alike.out + tuned.out


def test_a_search_that_fails_costs_its_own_row(inside: Inside) -> None:
    answer = inside("compare", "devise:optimizer=sgd,lr=3e38", "devise", *DIGITS, *SHORT, "--tuned", "--seeds", "1",
                    "--plain")  # fmt: skip
    assert answer.status == 1
    failed, fine = [line for line in answer.out.splitlines() if line.startswith("DeViSE")]
    assert "n/a" in failed and "n/a" not in fine
    assert "n/a for devise:optimizer=sgd,lr=3e38: its tuning failed" in answer.out
    last = answer.err.splitlines()[-1]
    assert "no trial of devise on digits was completed; first: loss 'loss' became NaN or infinite" in last


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tune", "devise", "--search", "magin=1,2"], ["--search magin=1,2", "no parameter 'magin'", "'margin'?"]),
        (["compare", "eszsl", "devise", "--tuned", "--search", "margin=1,2"], ["method 'eszsl' has no parameter"]),
        (["tune", "devise", "--search", "margin"], ["--search margin: give NAME=LOW:HIGH"]),
        (["tune", "devise", "--search", "margin=1:2:lin"], ["--search margin=1:2:lin", "is not LOW:HIGH"]),
        (["tune", "devise", "--search", "margin=2:1"], ["--search margin=2:1", "LOW < HIGH"]),
        (["tune", "devise", "--search", "margin=0:1:log"], ["--search margin=0:1:log", "LOW > 0"]),
        (["tune", "devise", "--search", "margin=0,1"], ["--search margin=0,1: '0'", "greater than 0"]),
        (["tune", "devise", "--search", "epochs=1.5:3"], ["--search epochs=1.5:3", "whole number"]),
        (["tune", "devise", "-p", "margin=1", "--search", "margin=1,2"], ["margin is both fixed to 1.0 and searched"]),
        (["tune", "devise:margin=1", "--search", "margin=1,2"], ["margin is both fixed to 1.0 and searched"]),
        (
            ["tune", "devise", "--search", "scale=l2,l3"],
            ["--search scale=l2,l3: 'l3' is none of none, l2, zscore, minmax"],
        ),
        (
            ["tune", "devise", "--search", "scale"],
            ["--search scale: '' is none of none, l2, zscore, minmax; give some"],
        ),
        (["tune", "devise", "--search", "semantics_scale=whitn"], ["'whitn' is none of none, l2, whiten"]),
        (
            ["tune", "dap", "--search", "semantics_scale=none,whiten"],
            ["method 'dap' needs attributes, and whitened class embeddings are none; see --search"],
        ),
        (["tune", "devise", "--scale", "l2", "--search", "scale=l2"], ["scale is both fixed to l2 and searched"]),
        (["tune", "sae@f2s", "--search", "scale=none"], ["scale is both fixed to l2 and searched"]),
        (
            ["tune", "eszsl", "-p", "gamma=1", "-p", "lam=1", "--scale", "l2"],
            ["nothing to search but what is fixed; see --search"],
        ),
        (["compare", "conse:l2=1,top=1", "--tuned"], ["nothing to search but what is fixed; see --search"]),
        (["tune", "eszsl", "--search", "gamma=1:2:200"], ["has 4200 points; name fewer values by --search"]),
        (
            ["tune", "devise", "--metric", "H cal"],
            ["--metric H cal: tuning chooses by acc_uu, acc_ut, acc_st, h, ausuc"],
        ),
        (["tune", "devise", "--metric", "ausc"], ["unknown metric 'ausc'; did you mean 'ausuc' or 'auroc'?"]),
        (["tune", "devise", "--trials", "0"], ["--trials", "greater than or equal to 1"]),
        (["tune", "devise", "--folds", "0"], ["--folds", "greater than or equal to 1"]),
        (["tune", "devise", "--existing", "only-cached"], ["no finished search of devise on digits with"]),
        (["run", "devise", "--oracle"], ["--oracle: it looks at the trials of --tuned; give both"]),
        (["run", "devise", "--tuned", "--on", "validation"], ["--tuned --on validation", "leave out one"]),
        (["compare", "eszsl", "--tuned", "--existing", "only-cached"], ["no finished search of eszsl on digits"]),
        (["tune"], ["Missing argument"]),
    ],
)
def test_a_wrong_command_is_one_line_and_status_2(
    inside: Inside, store: Path, arguments: list[str], said: list[str]
) -> None:
    answer = inside(*arguments, "-d", "digits")
    assert answer.status == 2
    for words in said:
        assert words in answer.error()
    assert [*store.glob("runs/*"), *store.glob("tuned/*")] == []


def test_another_space_is_refused_before_any_other_search_begins(inside: Inside, store: Path) -> None:
    inside("tune", "eszsl", *DIGITS, *CLOSED)
    before = [path.read_bytes() for path in store.glob("tuned/*")]
    other = ["--scale", "zscore", "--search", "lam=1:10:log"]
    answer = inside("compare", "sae", "eszsl", *DIGITS, "--folds", "2", "--tuned", *other)
    assert answer.status == 2
    assert answer.error() == (
        "a search of eszsl on digits was finished with another space: gamma was 0.1,10.0, not 0.001:1000:log; "
        "give that space to go on, or begin anew by `zslbench tune --existing rerun`"
    )
    assert [path.read_bytes() for path in store.glob("tuned/*")] == before
    assert inside("tune", "eszsl", *DIGITS, "--folds", "2", "--existing", "rerun").status == 0
    assert inside("run", "eszsl", *DIGITS, "--folds", "2", "--tuned").status == 0


def test_a_method_that_cannot_be_run_is_one_line_alone_and_a_row_among_others(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry().entry("method", "eszsl")
    needy = replace(entry, card=replace(entry.card, needs_attributes=True))
    monkeypatch.setitem(registry()._entries, ("method", "eszsl"), needy)
    words = tmp_path / "words.npy"
    np.save(words, np.random.default_rng(0).normal(size=(10, 5)))
    given = (*DIGITS, "--semantics", words)
    reason = "ESZSL needs attributes, and the class embeddings of digits are none"
    for alone in (("run", "eszsl"), ("tune", "eszsl"), ("run", "eszsl", "--tuned")):
        answer = inside(*alone, *given)
        assert answer.status == 1 and answer.error() == reason
    answer = inside("compare", "eszsl", "sae", *given, "--seeds", "1", "--plain")
    assert answer.status == 0
    [row] = [line for line in answer.out.splitlines() if line.startswith("ESZSL")]
    assert "n/a" in row and not re.search(r"\d", row)
    assert f"n/a for eszsl: {reason}" in answer.out.splitlines()
    content = document(inside("compare", "eszsl", "sae", *given, "--seeds", "1", "--json"))
    assert [run["spec"]["method"] for run in content["runs"]] == ["sae"]
    assert content["summary"][0]["refused"] == reason
    assert inside("run", "eszsl", *DIGITS).status == 0


def test_killed_in_the_middle_and_started_again_the_log_is_that_of_an_undisturbed_search(
    inside: Inside, store: Path, tmp_path: Path
) -> None:
    tune = ["tune", "devise", *DIGITS, "--trials", "8", "--folds", "2", "--search", "epochs=1:8", "--json"]
    tune += ["--stack", "1"]  # fits as one round differently when some of them are done already
    process = start(*tune)
    with process:
        assert process.stderr is not None
        while not process.stderr.readline().startswith("4 of 8 trials"):
            assert process.poll() is None
        process.kill()
    assert process.returncode == -9
    [path] = (store / "tuned").iterdir()
    assert 4 <= len(json.loads(path.read_text())["trials"]) < 8
    resumed = inside(*tune, "--engine", "processes")
    undisturbed = inside(*tune, "--store", tmp_path / "undisturbed")
    assert [log(search) for search in document(resumed)] == [log(search) for search in document(undisturbed)]
    assert document(resumed)[0]["tuned"] == document(undisturbed)[0]["tuned"]


def test_a_searched_scale_is_that_of_the_tuned_run_and_no_parameter(inside: Inside) -> None:
    point = ["--search", "gamma=1", "--search", "lam=1", "--search", "scale=minmax,l2"]
    [search] = document(inside("tune", "eszsl", *DIGITS, "--folds", "1", *point, "--json"))
    assert next(iter(search["space"])) == "scale" and len(search["trials"]) == 2
    [run] = document(inside("run", "eszsl", *DIGITS, "--folds", "1", "--tuned", "--json"))["runs"]
    assert run["spec"]["scale"] == search["tuned"]["scale"] and "scale" not in run["params"]
    again = inside("tune", "eszsl", *DIGITS, "--folds", "1", *point, "--plain")
    assert again.out.splitlines()[1].split() == ["scale", "gamma", "lam", "AUSUC", "folds"]


def test_a_finished_search_is_used_as_it_was_made(inside: Inside) -> None:
    space = ["--search", "margin=0.5,1", "--search", "epochs=1", "--trials", "2", "--folds", "1"]
    tuned = inside("tune", "devise", "-d", "digits", *space, "--json")
    [search] = json.loads(tuned.out)
    answer = inside("run", "devise", "-d", "digits", "--tuned", "--folds", "1", "--json")
    assert answer.status == 0, answer.err
    [record] = json.loads(answer.out)["runs"]
    assert {**record["params"], "scale": record["spec"]["scale"]}.items() >= search["tuned"].items()
    refused = inside("tune", "devise", "-d", "digits", "--folds", "1")
    assert refused.status == 2
    assert "with another space" in refused.error()
