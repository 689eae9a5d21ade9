"""Kinds of files that the product writes for itself; each must give the same again, or be made again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from zslbench.bench import Bench

from .kinds import Answer, Kind, bench, cli, compared, digest, lasting, loaded, toy, write_toy
from .sources import built, write_images

METHODS = ["eszsl", "devise:epochs=2"]
LONG = ["devise:epochs=6,lr=0.01"]
ON_IMAGES = ["sae-image:image_size=16,crops=2,backbone=pixels,phi=none,width=0.1,hidden=16,epochs=1"]
SETTLED = 0.1
"""Seconds after which the time stamps of a file are trusted."""


def in_child(work: Callable[[], object]) -> int:
    """Does something in a process of its own, and returns how that ended, as `os.wait` says it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1]


def _runs(work: Path) -> None:
    write_toy(work)
    assert in_child(lambda: compared(work, METHODS)) == 0


def _listed_and_compared(work: Path) -> Answer:
    with bench(work) as own:
        stored = [one.record.model_dump_json() for one in own.records()]
    return {"stored": stored, **compared(work, METHODS)}


def _curves(work: Path) -> Answer:
    """Reads the decisions of every run."""
    with bench(work) as own:
        results = own.compare(METHODS, dataset=toy(work), seeds=1)
        results.check()
        arrays = {one.method: {name: digest(a) for name, a in sorted(one.arrays().items())} for one in results}
        text = results.text()
        curves = {one.method: one.curve().to_csv() for one in results}
    return {"arrays": arrays, "text": [line.split()[:-1] for line in text.splitlines()], "curves": curves}


def _predicted(work: Path) -> Answer:
    """Has every kept model score images."""
    with bench(work) as own:
        data = own.load(toy(work))
        models = {one.method: one.model() for one in own.records()}
        return {name: digest(model.scores(data.features[:5])) for name, model in sorted(models.items())}


def searched(work: Path) -> Answer:
    with bench(work) as own:
        [found] = own.tune("devise:epochs=2", dataset=toy(work), folds=1, trials=3, search=["lr=1e-3:1e-2:log"])
    values = found.model_dump(mode="json")
    return {**values, "trials": [{**trial, "seconds": 0} for trial in values["trials"]], "tuned": found.tuned}


def _with_search(work: Path) -> None:
    write_toy(work)
    assert in_child(lambda: searched(work)) == 0


def with_checkpoints() -> Any:
    """Makes runs save a checkpoint after each epoch."""
    from zslbench.runs import execute

    return patch.object(execute, "Fit", partial(execute.Fit, checkpoint_seconds=0))


def _broken_off(work: Path) -> None:
    """Leaves a run that died in the middle of its last fit."""
    write_toy(work)

    def die(event: Any) -> None:
        progress = getattr(event, "progress", None)
        if progress is not None and progress.fit == "final" and progress.epoch == 4:
            os.kill(os.getpid(), signal.SIGKILL)  # a method cannot end the process by os._exit

    def run() -> None:
        with with_checkpoints(), Bench(store=work / "store", device="cpu", on_event=die) as own:
            own.compare(LONG, dataset=toy(work), seeds=1)

    assert os.waitstatus_to_exitcode(in_child(run)) == -signal.SIGKILL


def _cached(work: Path) -> None:
    """Loads twice with time in between, so that the time stamps of all files are trusted."""
    write_toy(work)
    for _ in range(2):
        time.sleep(SETTLED)
        assert in_child(lambda: loaded(work)) == 0


def _images(work: Path) -> Answer:
    shutil.rmtree(work / "store", ignore_errors=True)  # so that the caches are read
    return compared(work, ON_IMAGES, work / "built", calibrated=False, pretrained=False)


def _images_cached(work: Path) -> None:
    write_images(work)
    built(work)
    for _ in range(2):
        time.sleep(SETTLED)
        assert in_child(lambda: _images(work)) == 0


OLD = ["sae"]


def _old(work: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parents[1] / "store" / "schema1.zip") as file:
        file.extractall(work / "store")
    best: dict[str, int] = {}
    folders = sorted((work / "store" / "runs").iterdir())
    specs = [json.loads((folder / "record.json").read_text())["spec"] for folder in folders]
    for spec in specs:
        about = repr({**spec, "evaluators": None})
        best[about] = max(best.get(about, 0), len(spec["evaluators"]))
    for folder, spec in zip(folders, specs, strict=True):  # of two records of one run, the other could take its place
        if len(spec["evaluators"]) < best[repr({**spec, "evaluators": None})]:
            shutil.rmtree(folder)


def _old_compared(work: Path) -> Answer:
    with bench(work) as own:
        stored = [_shown(one.record.model_dump(mode="json")) for one in own.records()]
        results = own.compare(OLD, dataset="digits", seeds=1)
        results.check()
        return {"stored": stored, **{one.method: _shown(one.record.model_dump(mode="json")) for one in results}}


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """Returns what tables show of a record, and what identifies it."""
    kept = lasting(record)
    return {name: kept[name] for name in ("id", "spec", "metrics", "per_class", "class_names", "arrays")}


def _old_indexed(work: Path) -> None:
    _old(work)
    assert in_child(lambda: _old_compared(work)) == 0
    assert (work / "store" / "schema-1.json").is_file()


def _listed(work: Path) -> None:
    """Makes an index when records are old enough to be trusted."""
    _runs(work)
    time.sleep(SETTLED)
    assert in_child(lambda: _lists(work)) == 0
    assert (work / "store" / "index.json").is_file()


def _lists(work: Path) -> Answer:
    return {"runs": json.loads(cli("runs", "--store", work / "store", "--json"))}


def _noted(work: Path) -> None:
    _runs(work)

    def note() -> None:
        with bench(work) as own:
            for number, run in enumerate(own.records()):
                own.note(run.id, f"note {number}")

    assert in_child(note) == 0


def _notes(work: Path) -> Answer:
    return {"stored": [run["note"] for run in _lists(work)["runs"] if run["note"]]}


def _exported(work: Path) -> None:
    _noted(work)
    assert in_child(lambda: bench(work).export(work / "runs.zip")) == 0


def _imported(work: Path) -> Answer:
    """Takes over what an export file has, and returns what is there then."""
    other = Bench(store=work / "other", device="cpu", on_event=None)
    other.import_runs(work / "runs.zip")
    return {"stored": [[one.record.model_dump_json(), digest(one.arrays()["y"])] for one in other.records()]}


STORED = [
    Kind("record", "store/runs/*/record.json", _runs, _listed_and_compared, as_json=True),
    Kind("decisions", "store/runs/*/decisions-*", _runs, _curves),
    Kind("model", "store/runs/*/model-*", _runs, _predicted),
    Kind("index", "store/index.json", _listed, _lists, as_json=True),
    Kind("note", "store/runs/*/note.json", _noted, _notes, as_json=True),
    Kind("export", "runs.zip", _exported, _imported),
    Kind("search", "store/tuned/*.json", _with_search, searched, as_json=True),
    Kind("checkpoint", "store/partial/*/*", _broken_off, partial(compared, methods=LONG)),
    Kind("cache-entry", "cache/mat/*/*.npy cache/mat/*/*.json", _cached, loaded, rot=True),
    Kind("cache-index", "cache/index/*", _cached, loaded, as_json=True, rot=True),
    Kind("squares", "cache/squares/*/rows* cache/squares/*/*.json", _images_cached, _images, rot=True),
    Kind("crops", "cache/crops/*/rows* cache/crops/*/*.json", _images_cached, _images, rot=True),
    Kind("schema-1-record", "store/runs/*/record.json", _old, _old_compared, as_json=True, loses="store/runs"),
    Kind("schema-1-index", "store/schema-1.json", _old_indexed, _old_compared, as_json=True, loses="store/runs"),
]
