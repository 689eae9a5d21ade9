"""The code in the documents runs as it stands there."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zslbench as public

ROOT = Path(__file__).parent.parent
MODULES = {"method": "zsl_cosine", "dataset": "zsl_blobs", "evaluator": "zsl_bias"}


def block(name: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- test: {name} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, f"CONTRIBUTING.md has no block {name!r}"
    return found[1]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the three plugins of CONTRIBUTING.md, as an installer would leave it."""
    for name, module in MODULES.items():
        (tmp_path / f"{module}.py").write_text(block(name), encoding="utf-8")
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[zslbench]\n{module} = {module}\n")
    return tmp_path


def zslbench(site: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site), "ZSLBENCH_STORE": str(site / "store")}
    command = [sys.executable, "-m", "zslbench", *arguments]
    done = subprocess.run(command, env=environment, cwd=site, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_method_of_contributing_trains_and_beats_chance_on_digits(site: Path) -> None:
    result = json.loads(zslbench(site, "run", "cosine", "-d", "digits", "--json", "--on", "validation"))
    chance = 1 / 2  # two validation classes
    assert result["summary"][0]["metrics"]["acc_uu"]["mean"] > chance


def test_the_data_set_and_the_evaluator_of_contributing_work_together(site: Path) -> None:
    metrics = json.loads(zslbench(site, "run", "eszsl", "-d", "blobs", "--json"))["runs"][0]["metrics"]
    assert metrics["acc_uu"] == 1.0
    assert 0.0 <= metrics["seen_bias"] <= 1.0
    assert metrics["seen_bias"] >= 1.0 - metrics["acc_ut"] - 1e-9


def test_the_method_of_contributing_is_forty_lines_at_most() -> None:
    assert len(block("method").splitlines()) <= 40


def test_every_public_name_is_in_the_reference_once_and_nothing_else_is() -> None:
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md")]
    shown = [name for text in pages for name in re.findall(r"^::: zslbench\.(\w+)$", text, re.MULTILINE)]
    assert sorted(shown) == sorted({*public.__all__, "hookspecs"} - {"__version__"})
