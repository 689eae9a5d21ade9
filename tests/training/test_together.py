"""Two processes that train one model together, as torchrun starts them, against one process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from outside import Inside

from zslbench.records.record import RunRecord
from zslbench.records.store import Store

SMALL = (
    "spaen-image@small:image_size=32,crops=2,backbone=pixels,encoder=conv,phi=none,width=0.1,hidden=32,autoencoder_hidden=32,"
    "epochs=3,batch_size=32,critic_steps=2,beta=0.5"
)
RUN = ("run", SMALL, "--dataset", "shapes:images_per_class=5,size=40", "--on", "validation")


def together(*arguments: object) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "-m", "zslbench", *map(str, arguments)], capture_output=True, text=True, timeout=240
    )


def records(store: Path) -> list[RunRecord]:
    return sorted(Store(store).records(), key=lambda record: record.spec.seed)


def test_two_processes_have_the_loss_curve_of_one_and_write_one_record(inside: Inside, tmp_path: Path) -> None:
    """What is stored, here of seed 1, they train no more."""
    alone = inside(*RUN, "--seeds", 2, "--device", "cpu", "--store", tmp_path / "alone")
    assert alone.status == 0, alone.err
    one, stored = records(tmp_path / "alone")
    shutil.copytree(tmp_path / "alone" / "runs" / stored.id, tmp_path / "pair" / "runs" / stored.id)
    pair = together(*RUN, "--seeds", 2, "--device", "cpu", "--store", tmp_path / "pair", "--json")
    assert pair.returncode == 0, pair.stderr
    assert pair.stderr.count("1 of 2 runs were stored already") == 1
    printed = json.loads(pair.stdout)  # one process speaks for both
    two, kept = records(tmp_path / "pair")
    assert [run["id"] for run in printed["runs"]] == [two.id, kept.id] == [one.id, stored.id]
    assert kept == stored
    assert one.training is not None and two.training is not None
    assert len(one.training.losses) == 3 and len(one.training.losses[0]) >= 4
    for a, b in zip(one.training.losses, two.training.losses, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose([a[k] for k in a], [b[k] for k in a], rtol=1e-4, atol=1e-4)
    assert np.isclose(one.metrics["mse_unseen"], two.metrics["mse_unseen"], rtol=1e-3)


def test_processes_that_train_together_take_no_engine(
    inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    answer = inside(*RUN, "--jobs", 2, "--store", tmp_path / "store")
    assert answer.status == 2
    assert answer.error().startswith("several processes train one run together here; leave out --jobs")
    assert not (tmp_path / "store").exists()
