"""`zslbench explain`: a stored run, looked into."""

from __future__ import annotations

import json
from pathlib import Path

from outside import CHEAP, Inside
from PIL import Image


def test_it_prints_tables_and_draws_a_figure(inside: Inside, tmp_path: Path) -> None:
    run = json.loads(inside("run", "sae", *CHEAP, "--json").out)["runs"][0]["id"]
    answer = inside("explain", run[:8], "-d", "digits", "--figure", tmp_path / "inside.png", "--plain")
    assert answer.status == 0, answer.err
    for text in ("nearest seen class", "given to", "skewness over 10 classes", "attributes read off embeddings"):
        assert text in answer.out
    with Image.open(tmp_path / "inside.png") as picture:
        assert picture.size[0] > 1000 and len(picture.convert("L").getcolors() or []) > 10
    assert "no run 'nope'" in inside("explain", "nope").error()
