"""`zslbench runs`: what is listed, filtered, sorted, noted and compared, and an index that never changes an answer."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from outside import CHEAP, Inside

from zslbench.bench import Bench
from zslbench.records.listing import INDEX
from zslbench.records.store import Store

pytestmark = pytest.mark.usefixtures("filled")


@pytest.fixture
def filled(inside: Inside) -> None:
    """A store with two seeds of a method by hand, two methods by default, and a search."""
    ran = inside("compare", "devise:epochs=2", "sae", "eszsl", "-d", "digits", "--seeds", "2", "--device", "cpu")
    assert ran.status == 0, ran.err


def listed(inside: Inside, *options: object) -> list[dict[str, Any]]:
    answer = inside("runs", *options, "--json")
    assert answer.status == 0, answer.err
    return list(json.loads(answer.out))


def methods(inside: Inside, *filters: str) -> list[str]:
    return [run["method"] for run in listed(inside, *(word for text in filters for word in ("--filter", text)))]


def test_a_line_says_what_a_run_is_and_fits_eighty_columns(inside: Inside, store: Path) -> None:
    lines = inside("runs").out.splitlines()
    records = {record.id: record for record in Store(store).records()}
    assert max(map(len, lines)) <= 80 and len(lines) == 1 + 4 + 1
    assert lines[0].split()[:6] == ["run", "method", "data", "set", "seed", "settings"]
    for line in lines[1:-1]:
        run, method, dataset, seed, settings, ausuc, *_ = line.split()
        record = records.pop(run)
        assert (method, dataset, seed) == (record.spec.method, "digits", str(record.spec.seed))
        assert settings == ("given" if method == "devise" else "default")
        assert float(ausuc) == pytest.approx(100 * record.metrics["ausuc"], abs=0.051)
    assert not records and lines[-1].startswith("no room for ") and lines[-1].endswith("; --csv has all")


def test_json_and_csv_have_everything_from_the_records(inside: Inside, store: Path) -> None:
    records = {record.id: record for record in Store(store).records()}
    rows = {row["id"]: row for row in csv.DictReader(io.StringIO(inside("runs", "--csv").out))}
    for run in listed(inside):
        record = records[run["id"]]
        assert run["metrics"] == record.metrics and run["params"] == record.spec.params
        assert run["size"] == sum(path.stat().st_size for path in (store / "runs" / record.id).iterdir())
        assert run["model"] is True and run["date"] == record.provenance["finished"]
        assert float(rows[record.id]["h"]) == record.metrics["h"]
    assert rows.keys() == records.keys()


def test_filters_choose_by_words_values_and_figures(inside: Inside, store: Path) -> None:
    figures = {record.id: record.metrics["h"] for record in Store(store).records()}
    middle = 100 * sorted(figures.values())[1] + 0.01
    expected = {run for run, value in figures.items() if 100 * value > middle}
    assert {run["id"] for run in listed(inside, "--filter", f"h>{middle}")} == expected
    assert methods(inside, "method=s*") == ["sae"]
    assert sorted(methods(inside, "method=SAE,eszsl dataset=digits")) == ["eszsl", "sae"]
    assert methods(inside, "method=devise seed=1") == methods(inside, "method=devise", "seed>0") == ["devise"]
    assert methods(inside, "param_epochs=2 given") == ["devise", "devise"]
    assert sorted(methods(inside, "default")) == ["eszsl", "sae"]
    assert methods(inside, "tuned") == methods(inside, "trial") == methods(inside, "noted") == []
    assert len(methods(inside, "model date>2000 method!=sae")) == 3
    assert inside("runs", "--filter", "tuned").out == "none of 4 runs fits\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--filter", "methd=sae"], ["'methd'", "known: id, date, method, ", "ausuc", "param_NAME"]),
        (["--filter", "tund"], ["tund", "known: tuned, default, "]),
        (["--filter", "h>x"], ["h>x", "'x' is no number"]),
        (["--filter", "note='a"], ["note='a", "quotation"]),
        (["--sort", "hh"], ["--sort hh", "'hh'", "known: id, "]),
        (["--json", "--csv"], ["give one of them"]),
        (["--store", "other", "verify"], ["--store: write it after `verify`"]),
    ],
)
def test_what_cannot_be_meant_is_one_line(inside: Inside, options: list[str], words: list[str]) -> None:
    answer = inside("runs", *options)
    assert answer.status == 2
    error = answer.error()
    assert all(word in error for word in words), error


def test_lists_are_sorted_by_any_key(inside: Inside) -> None:
    values = [run["metrics"]["h"] for run in listed(inside)]
    assert [run["metrics"]["h"] for run in listed(inside, "--sort", "h")] == sorted(values, reverse=True)
    assert [run["metrics"]["h"] for run in listed(inside, "--sort", "-h")] == sorted(values)
    assert [run["method"] for run in listed(inside, "--sort", "method")] == ["devise", "devise", "eszsl", "sae"]
    epochs = [run["params"].get("epochs") for run in listed(inside, "--sort", "param_epochs")]
    assert epochs == [2, 2, None, None]
    assert " H  " in inside("runs", "--sort", "h").out.splitlines()[0]


def test_notes_are_shown_replaced_and_removed_and_change_no_record(inside: Inside, store: Path) -> None:
    before = list(Store(store).records())
    [run] = listed(inside, "--filter", "method=sae")
    said = inside("runs", "note", run["id"][:6], "the one\nto beat")
    assert said.status == 0 and said.out == f"{run['id']}: the one to beat\n"
    assert methods(inside, "noted") == ["sae"] and "the one to beat" in inside("runs").out
    again = inside("compare", "sae", "eszsl", *CHEAP, "--note", "second look")
    assert again.status == 0 and f"{run['id']}: noted already" in again.err
    assert {one["method"]: one["note"] for one in listed(inside, "--filter", "noted")} == {
        "sae": "the one to beat",
        "eszsl": "second look",
    }
    assert inside("run", "sae", *CHEAP, "--existing", "rerun").status == 0
    assert methods(inside, "note=*beat") == ["sae"]
    assert inside("runs", "note", run["id"], "").status == 0
    assert methods(inside, "noted") == ["eszsl"]
    assert inside("runs", "note", run["id"], "x" * 1001).status == 2
    after = {record.id: record.metrics for record in Store(store).records()}
    assert after == {record.id: record.metrics for record in before}


def test_a_damaged_note_is_set_aside_and_the_run_stays(inside: Inside, store: Path) -> None:
    [run] = listed(inside, "--filter", "method=sae")
    inside("runs", "note", run["id"], "mine")
    path = store / "runs" / run["id"] / "note.json"
    path.write_text(path.read_text().replace("mine", "thine"))
    checked = inside("runs", "verify")
    assert checked.status == 1 and "damaged note" in checked.out
    assert methods(inside, "noted") == [] and len(listed(inside)) == 4


def old(store: Path) -> None:
    """Has the index made when everything in the store is old enough to be trusted."""
    time.sleep(0.1)
    assert Store(store).ids()


def test_an_index_is_used_and_never_changes_an_answer(
    inside: Inside, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old(store)
    expected = listed(inside)
    index = store / INDEX
    whole = index.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "find", None)  # nothing is read but the index
        assert listed(inside) == expected
    for damaged in (b"", b"{", whole[:-200], whole.replace(b"digits", b"digest"), b"[1]", b'{"by": 3}'):
        index.write_bytes(damaged)
        assert listed(inside) == expected
    index.unlink()
    index.mkdir()
    assert listed(inside) == expected


def test_whatever_changes_beside_the_index_is_seen(inside: Inside, store: Path) -> None:
    old(store)
    first = listed(inside)
    run = first[0]["id"]
    record = store / "runs" / run / "record.json"
    stamps = record.stat()
    content = record.read_bytes()
    record.write_bytes(content.replace(b"digits", b"digest"))
    os.utime(record, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))  # its size and time are what they were
    answer = inside("runs", "--json")
    assert "damaged record" in answer.err
    assert [one["id"] for one in json.loads(answer.out)] == [one["id"] for one in first[1:]]
    next((store / "runs" / first[1]["id"]).glob("model-*")).unlink()
    assert len(methods(inside, "model")) == 2
    inside("runs", "note", first[2]["id"], "new")
    assert len(methods(inside, "noted")) == 1
    inside("run", "conse", *CHEAP)
    assert "conse" in methods(inside)


def test_a_difference_has_settings_metrics_and_classes_with_the_largest_change_first(
    inside: Inside, store: Path
) -> None:
    a, b = [record for record in Store(store).records() if record.spec.method == "devise"]
    answer = inside("runs", "diff", a.id[:7], b.id[:7])
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if line.startswith("seed ")] == [
        ["seed", str(a.spec.seed), str(b.spec.seed)]
    ]
    [h] = [line.split() for line in lines if line.startswith("H  ")]
    assert float(h[3]) == pytest.approx(100 * (b.metrics["h"] - a.metrics["h"]), abs=0.051)
    found = json.loads(inside("runs", "diff", a.id, b.id, "--json").out)
    assert "settings" in found and "lr" not in found["settings"]
    for task, classes in found["per_class"].items():
        changes = [abs(after - before) for before, after in classes.values()]
        assert changes == sorted(changes, reverse=True) and 0 not in changes
        assert {name: both[0] for name, both in classes.items()}.items() <= a.per_class[task].items()
    same = json.loads(inside("runs", "diff", a.id, a.id, "--json").out)
    assert same["settings"] == same["environment"] == same["per_class"] == {}
    assert inside("runs", "diff", a.id, "nosuch").status == 2


def test_python_has_the_same_filters(store: Path) -> None:
    bench = Bench(store=store, on_event=None)
    assert [result.method for result in bench.records("method=sae,eszsl h>0", method="sae")] == ["sae"]
    bench.note(bench.records("method=sae")[0].id, "from Python")
    assert [result.method for result in bench.records("noted")] == ["sae"]


def test_a_run_is_repeated_from_its_record_and_a_difference_is_status_1(inside: Inside, store: Path) -> None:
    opened = Store(store)
    [record] = [record for record in opened.records() if record.spec.method == "sae"]
    answer = inside("runs", "repeat", record.id[:6], "--device", "cpu")
    assert answer.status == 0 and answer.out == f"{record.id}: repeated bit for bit\n", answer.err
    changed = record.model_copy(update={"metrics": {**record.metrics, "h": record.metrics["h"] + 0.02}})
    opened.save(changed, opened.arrays(record))
    answer = inside("runs", "repeat", record.id, "--device", "cpu")
    assert answer.status == 1
    assert answer.out.splitlines()[0].startswith("H: ") and "(-2.0)" in answer.out
    assert inside("runs", "repeat", record.id, "--device", "cpu", "--tolerance", "2.1").status == 0
    found = json.loads(inside("runs", "repeat", record.id, "--device", "cpu", "--json").out)
    assert found["beyond"] == ["h"] and found["changes"]["h"] == pytest.approx(-0.02)
