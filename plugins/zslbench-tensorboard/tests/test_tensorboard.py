"""The plugin, through its command and its hooks; the event files are read back by TensorBoard's own reader."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zslbench_tensorboard as plugin
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from zslbench import Progress, RunRecord, RunSpec

SPEC = RunSpec(
    method="mine",
    method_version=1,
    params={"lr": 0.5},
    dataset="/data/my birds",
    fingerprint="f",
    features="res101",
    scale="none",
    setting="inductive",
    seed=3,
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "logs"
    monkeypatch.setenv(plugin.FOLDER, str(folder))
    yield folder
    for writer in plugin._open.values():
        writer.close()
    plugin._open.clear()


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def points(folder: Path) -> dict[str, dict[int, float]]:
    """Returns value by step by tag; a step that comes twice fails."""
    found = read(folder)
    series = {}
    for tag in found.Tags()["scalars"]:
        events = found.Scalars(tag)
        assert len({event.step for event in events}) == len(events), f"{tag} has a step twice"
        series[tag] = {event.step: event.value for event in events}
    return series


def epoch(step: int, fit: str = "final", **watched: float) -> Progress:
    return Progress("train", step, 9, {"loss": 1 / step, "loss/term": 2.0 * step}, 0.1, step, fit, watched)


def command(tmp_path: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "zslbench", *map(str, arguments)],
        env={**os.environ, "ZSLBENCH_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1", **environment},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(tmp_path: Path, *arguments: object, **environment: str) -> list[dict[str, Any]]:
    process = command(tmp_path, "run", *arguments, "--dataset", "digits", "--json", **environment)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    assert "warning" not in err
    runs: list[dict[str, Any]] = json.loads(out)["runs"]
    return runs


def folder_of(record: dict[str, Any], root: Path) -> Path:
    [found] = root.glob(f"*/*-{record['id']}")
    return found


def losses(record: dict[str, Any], name: str) -> dict[int, Any]:
    history = record["training"]["losses"]
    return {step: pytest.approx(values[name], rel=1e-6) for step, values in enumerate(history, 1) if name in values}


def test_loading_it_imports_no_torch() -> None:
    code = "import sys, zslbench_tensorboard; sys.exit('torch' in sys.modules or 'tensorboard' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_fit_has_a_point_for_each_epoch_and_the_run_has_its_results(folder: Path) -> None:
    plugin.zslbench_run_started(SPEC)
    for progress in [epoch(1, "validation", ausuc=0.25), epoch(2, "validation", ausuc=0.5), epoch(1), epoch(2)]:
        plugin.zslbench_epoch_finished(SPEC, progress)
    record = RunRecord(id=SPEC.id, spec=SPEC, params={"lr": 0.5, "layers": [1, 2]}, metrics={"acc_uu": 0.75})
    plugin.zslbench_run_finished(record)

    own = folder / "test" / f"mine-my-birds-seed3-{SPEC.id}"
    assert points(own / "validation") == {
        "loss/loss": {1: 1.0, 2: 0.5},
        "loss/loss/term": {1: 2.0, 2: 4.0},
        "validation/ausuc": {1: 0.25, 2: 0.5},
    }
    assert points(own / "final") == {"loss/loss": {1: 1.0, 2: 0.5}, "loss/loss/term": {1: 2.0, 2: 4.0}}
    assert points(own) == {"result/acc_uu": {0: 0.75}}


def test_hyper_parameters_stand_beside_the_results(folder: Path) -> None:
    record = RunRecord(id=SPEC.id, spec=SPEC, params={"lr": 0.5, "layers": [1, 2]}, metrics={"acc_uu": 0.75})
    plugin.zslbench_run_finished(record)
    [own] = (folder / "test").iterdir()
    tags = read(own).PluginTagToContent("hparams")
    started = HParamsPluginData.FromString(tags["_hparams_/session_start_info"]).session_start_info.hparams
    assert {name: value.number_value or value.string_value for name, value in started.items()} == {
        "method": "mine",
        "dataset": "/data/my birds",
        "features": "res101",
        "scale": "none",
        "semantics_scale": "none",
        "seed": 3.0,
        "params_from": "default",
        "lr": 0.5,
        "layers": "[1, 2]",
    }
    experiment = HParamsPluginData.FromString(tags["_hparams_/experiment"]).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["result/acc_uu"]


def test_a_fit_that_goes_on_repeats_epochs_without_doubling_their_points(folder: Path) -> None:
    """It was interrupted after epoch 5 and goes on from a checkpoint of epoch 3, in a process of its own."""
    for step in range(1, 6):
        plugin.zslbench_epoch_finished(SPEC, epoch(step))
    plugin._open.clear()
    time.sleep(1.1)  # files of one second have no order
    for step in range(4, 8):
        plugin.zslbench_epoch_finished(SPEC, epoch(step))
    [own] = (folder / "test").iterdir()
    assert list(points(own / "final")["loss/loss"]) == [1, 2, 3, 4, 5, 6, 7]


def test_a_run_that_fails_says_why_and_keeps_its_points(folder: Path) -> None:
    plugin.zslbench_epoch_finished(SPEC, epoch(1))
    plugin.zslbench_run_failed(SPEC, ValueError("loss became NaN"))
    [own] = (folder / "test").iterdir()
    assert list(points(own / "final")["loss/loss"]) == [1]
    [event] = read(own).Tensors("failed/text_summary")
    assert event.tensor_proto.string_val == [b"ValueError: loss became NaN"]
    assert not plugin._open


def test_trials_of_a_search_are_kept_apart(folder: Path) -> None:
    plugin.zslbench_epoch_finished(SPEC.model_copy(update={"on": "validation"}), epoch(1))
    assert [path.name for path in folder.iterdir()] == ["validation"]


def test_an_empty_variable_logs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugin.FOLDER, "")
    monkeypatch.chdir(tmp_path)
    plugin.zslbench_epoch_finished(SPEC, epoch(1))
    plugin.zslbench_run_finished(RunRecord(id=SPEC.id, spec=SPEC, params={}, metrics={"acc_uu": 0.75}))
    plugin.zslbench_run_failed(SPEC, ValueError("no"))
    assert not list(tmp_path.iterdir())


def test_the_command_logs_what_its_record_says(tmp_path: Path) -> None:
    [record] = run(tmp_path, "devise", "-p", "epochs=4", "-p", "patience=2", "--seeds", "1")
    own = folder_of(record, tmp_path / "logs")
    assert points(own / "final")["loss/loss"] == losses(record, "loss")
    trial = points(own / "validation")
    assert trial["validation/ausuc"].keys() == trial["loss/loss"].keys() >= {1, 2}
    assert max(trial["validation/ausuc"].values()) == pytest.approx(record["validation"]["ausuc"], rel=1e-6)
    results = points(own)
    for name, value in record["metrics"].items():
        assert results[f"result/{name}"] == {0: pytest.approx(value, rel=1e-6)}


def test_runs_in_processes_of_their_own_are_logged_by_default_beside_the_store(tmp_path: Path) -> None:
    arguments = ("devise", "-p", "epochs=2", "--seeds", "2", "--jobs", "2", "--device", "cpu")
    environment = {name: value for name, value in os.environ.items() if name != plugin.FOLDER}
    process = subprocess.Popen(
        [sys.executable, "-m", "zslbench", "run", *arguments, "--dataset", "digits", "--json"],
        env={**environment, "ZSLBENCH_STORE": str(tmp_path / "store"), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    records = json.loads(process.communicate(timeout=240)[0])["runs"]
    assert len(records) == 2
    for record in records:
        own = folder_of(record, tmp_path / plugin.DEFAULT_FOLDER)
        assert points(own / "final")["loss/loss"] == losses(record, "loss")


def two_epochs_are_logged(folder: Path) -> bool:
    return any(len(steps) > 1 for file in folder.glob("*/*/*/events*") for steps in points(file.parent).values())


def test_a_killed_run_that_is_started_again_has_each_epoch_once(tmp_path: Path) -> None:
    arguments = ("spaen", "-p", "epochs=30", "--seeds", "1", "--device", "cpu")
    first = command(tmp_path, "run", *arguments, "--dataset", "digits")
    while first.poll() is None and not two_epochs_are_logged(tmp_path / "logs"):
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert first.returncode == -signal.SIGKILL, "it ended before it could be killed"
    time.sleep(1.1)  # files of one second have no order
    [record] = run(tmp_path, *arguments)
    own = folder_of(record, tmp_path / "logs")
    assert len(list((own / "validation").glob("events*"))) == 2
    series = points(own / "final")
    for name in {name for values in record["training"]["losses"] for name in values}:
        assert series[f"loss/{name}"] == losses(record, name)
    assert set(points(own / "validation")) == set(series)
