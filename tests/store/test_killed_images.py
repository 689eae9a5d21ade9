"""A run on images that is killed between checkpoints and after one, and issued again."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import command, distribution, start

from zslbench.records.record import RunRecord
from zslbench.records.store import Store

RUN = (
    "run",
    "spaen-image@small:image_size=32,crops=2,backbone=pixels,encoder=conv,phi=none,width=0.1,hidden=32,autoencoder_hidden=32,"
    "epochs=6,batch_size=32,critic_steps=1,beta=0.5,training=two-stage,autoencoder_epochs=4,lr=0.001",
    *("--dataset", "shapes:images_per_class=5,size=40", "--device", "cpu"),
)
FITS, EPOCHS = 2, 10
"""One to choose gamma on validation classes, and one to test; the epochs of both stages."""


@pytest.fixture
def observer(tmp_path: Path) -> Path:
    """A folder with a plugin that writes down each epoch, and saves a checkpoint after every third of a fit."""
    folder = tmp_path / "observer"
    folder.mkdir()
    source = f"""
        import os, time
        from zslbench.training import trainer

        save, due = trainer._Trainer._save_if_due, [0]

        def every_third(self, *arguments, **named):
            due[0] += 1
            self.how.checkpoint_seconds = 0.0 if due[0] % 3 == 0 else 1e9
            save(self, *arguments, **named)

        trainer._Trainer._save_if_due = every_third

        def zslbench_epoch_finished(spec, progress):
            with open({str(folder / "log")!r}, "a") as file:
                file.write(f"{{os.getpid()}} {{progress.fit}} {{progress.step}}\\n")
            time.sleep(0.2)  # in which the test can end this process
        """
    return distribution(folder, "observer", source)


def epochs(observer: Path, pid: int) -> list[tuple[str, int]]:
    """Returns the fit and number of each epoch that a process trained."""
    lines = (observer / "log").read_text().splitlines() if (observer / "log").exists() else []
    return [(fit, int(step)) for own, fit, step in map(str.split, lines) if int(own) == pid]


def killed(observer: Path, after: int) -> list[tuple[str, int]]:
    """Kills a run after so many epochs; returns them."""
    process = start(*RUN, path=observer)
    until = time.monotonic() + 120
    while len(epochs(observer, process.pid)) < after and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, 9)
    process.communicate()
    assert process.returncode == -9
    done = epochs(observer, process.pid)
    assert len(done) == after
    return done


def the_record(store: Path) -> tuple[RunRecord, dict[str, Any]]:
    opened = Store(store, create=False)
    [record] = opened.records()
    return record, opened.arrays(record)


@pytest.mark.slow
def test_killed_between_checkpoints_and_after_one_it_gives_what_it_gives_undisturbed(
    store: Path, tmp_path: Path, observer: Path
) -> None:
    first = killed(observer, 2)  # before any checkpoint
    assert first == [("validation", 1), ("validation", 2)]
    assert not list(store.glob("partial/*/*.safetensors"))
    second = killed(observer, 5)  # two epochs after one
    assert second[0] == ("validation", 1)
    third = killed(observer, 9)
    assert third[0] == ("validation", 4)  # the checkpoint is after the third epoch
    assert third[-1][0] == "final"
    assert not list(store.glob("runs/*"))

    last = command(*RUN, "--json", path=observer)
    assert last.status == 0, last.err
    assert not list(store.glob("partial/*"))
    undisturbed = command(*RUN, "--store", tmp_path / "undisturbed", "--json")
    assert undisturbed.status == 0, undisturbed.err
    (one, arrays), (other, expected) = the_record(store), the_record(tmp_path / "undisturbed")
    assert one.id == other.id == json.loads(last.out)["runs"][0]["id"]
    assert one.training is not None and other.training is not None
    assert len(one.training.losses) == EPOCHS
    assert one.training.losses == other.training.losses
    assert one.metrics == other.metrics and "mse_unseen" in one.metrics
    assert one.validation == other.validation
    assert arrays.keys() == expected.keys() and "reconstruction/made" in arrays
    assert all(np.array_equal(arrays[name], expected[name]) for name in arrays)
