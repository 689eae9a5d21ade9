"""A `data build` that is killed in the middle, and issued again."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from outside import command, start
from pictures import write_digits


def done(folder: Path) -> int:
    """Returns how many images an unfinished extraction counts as done."""
    try:
        [state] = folder.glob("*.part/state.json")
        return int(json.loads(state.read_text())["done"])
    except ValueError:
        return 0


def test_killed_and_issued_again_it_gives_the_same_files(tmp_path: Path) -> None:
    images, table = write_digits(tmp_path, each=21)
    (images / "digit 0" / "broken.png").write_bytes(b"\x89PNG")
    how = ["--images", images, "--attributes", table, "--backbone", "torchvision:shufflenet_v2_x0_5", "--no-pretrained"]
    how += ["--batch-size", 4]

    process = start("data", "build", tmp_path / "killed", *how)
    until = time.monotonic() + 120
    while done(tmp_path / "killed") < 24 and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = done(tmp_path / "killed")
    assert 24 <= before < 211
    assert not list((tmp_path / "killed").glob("*.mat"))

    assert command("data", "build", tmp_path / "killed", *how).status == 0
    assert command("data", "build", tmp_path / "whole", *how).status == 0
    for name in ("att_splits.mat", "torchvision-shufflenet_v2_x0_5-random.mat", "skipped.csv"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )
