"""`zslbench runs verify`: it finds what checksums cannot, sets it aside, and the same command makes it again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from outside import CHEAP, Inside

from zslbench.bench import Bench
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.records.verify import wrong_trial


@pytest.fixture
def opened(inside: Inside, store: Path) -> Store:
    """A store with a run that chose gamma on validation classes, one without, and a search."""
    assert inside("compare", "devise:epochs=2", "cmt-star:epochs=2", *CHEAP).status == 0
    tuned = inside("tune", "devise", "-d", "digits", "--folds", "1", "--trials", "2", "--search", "epochs=2:3")
    assert tuned.status == 0, tuned.err
    return Store(store)


def problems(store: Store) -> dict[str, str]:
    found = Bench(store=store.root, on_event=None).verify()
    return {one.name: one.problem for one in found if one.problem}


def other(record: RunRecord, **changes: Any) -> RunRecord:
    """Returns a record with some figures replaced, whose checksum will be right all the same."""
    return record.model_copy(update={name: {**getattr(record, name), **own} for name, own in changes.items()})


def test_whatever_does_not_follow_from_the_decisions_is_named_set_aside_and_made_again(
    opened: Store, inside: Inside
) -> None:
    assert problems(opened) == {}
    records = [record for record in opened.records() if record.spec.on == "test"]
    assert len(records) == 2 and all("h_cal" in record.metrics for record in records)
    for record in records:
        arrays = opened.arrays(record)
        low, high = record.intervals["ausuc"]
        task, accuracies = next(iter(record.per_class.items()))
        name, value = next(iter(accuracies.items()))
        wrong = {
            "metric 'ausuc'": other(record, metrics={"ausuc": record.metrics["ausuc"] + 1e-4}),
            "metric 'gamma'": other(record, metrics={"gamma": record.metrics["gamma"] + 1e-4}),
            "interval of 'ausuc <'": other(record, intervals={"ausuc": (low + 1e-4, high)}),
            "per-class accuracy": other(record, per_class={task: {**accuracies, name: value + 1e-4}}),
            "metric on validation classes 'h'": other(record, validation={"h": record.validation["h"] + 1e-4}),
        }
        for words, changed in wrong.items():
            opened.save(changed, arrays)
            with pytest.warns(UserWarning, match=f"{words.split()[0]}.*set aside"):
                found = problems(opened)
            assert found.keys() == {record.id} and words in found[record.id]
            assert opened.find(record.id) is None
    again = inside("compare", "devise:epochs=2", "cmt-star:epochs=2", *CHEAP)
    assert again.status == 0 and problems(opened) == {}
    assert [opened.find(record.id).metrics for record in records] == [record.metrics for record in records]  # type: ignore[union-attr]


def test_the_command_names_each_kind_of_damage_and_ends_with_status_1(opened: Store, inside: Inside) -> None:
    whole = inside("runs", "verify")
    assert whole.status == 0 and whole.out == "checked: records 4, searches 1, checkpoints 0; damaged: 0\n"
    [decisions, *_] = opened.root.glob("runs/*/decisions-*")
    decisions.write_bytes(decisions.read_bytes()[:-1] + b"\x7f")
    [log] = opened.root.glob("tuned/*.json")
    search = Search.model_validate(opened.find_search(log.stem))
    trials = [search.trials[0].model_copy(update={"values": [0.123]}), *search.trials[1:]]
    opened.save_search(search.model_copy(update={"trials": trials}))
    checkpoint = opened.root / "partial" / "abc" / "final.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"nothing")
    (checkpoint.parent / ".final.safetensors.1.part").touch()

    answer = inside("runs", "verify", "--json")

    assert answer.status == 1
    found = {one["name"]: one for one in json.loads(answer.out) if one["problem"] or one["kind"] == "leftover"}
    assert f"{decisions}: damaged" in found[decisions.parent.name]["problem"]
    assert found[log.stem]["problem"].startswith("trial 0 has ausuc 0.123, which its run ")
    assert "damaged checkpoint" in found["partial/abc/final.safetensors"]["problem"]
    assert found["partial/abc/.final.safetensors.1.part"]["kind"] == "leftover"
    assert f"tuned/{log.name}.damaged" in found
    lines = inside("runs", "verify").out.splitlines()
    assert lines[-1] == "checked: records 3, searches 0, checkpoints 1; damaged: 1"


def test_a_mean_over_folds_that_is_not_that_of_the_values_is_damage(opened: Store) -> None:
    [name] = opened.searches()
    search = Search.model_validate(opened.find_search(name))
    trial = search.trials[0]
    assert trial.means and not wrong_trial(search, opened)
    changed = trial.model_copy(update={"means": [*trial.means[:-1], trial.means[-1] + 0.01]})
    problem = wrong_trial(search.model_copy(update={"trials": [changed, *search.trials[1:]]}), opened)
    assert problem == f"trial 0 has the mean {changed.means[-1]:.6g}, but that of its values is {trial.value:.6g}"


def test_a_store_of_an_older_version_is_verified_too(tmp_path: Path, inside: Inside) -> None:
    root = tmp_path / "old"
    with zipfile.ZipFile(Path(__file__).parent / "schema1.zip") as file:
        file.extractall(root)
    assert problems(Store(root)) == {}
    assert (
        inside("runs", "verify", "--store", root).out == "checked: records 6, searches 2, checkpoints 0; damaged: 0\n"
    )
    assert inside("runs", "verify", "--store", tmp_path / "none").status == 2
