"""The page of promises names tests and checks that exist."""

from __future__ import annotations

import re
from pathlib import Path

from faults.mutate import KINDS

from zslbench.testing import CHECKS, name_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guide" / "promises.md").read_text(encoding="utf-8")


def test_every_test_and_benchmark_that_is_named_is_there() -> None:
    named = re.findall(r"\b((?:tests|benchmarks)/[\w/]+\.py)", PAGE)
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_check_that_is_named_is_there() -> None:
    known = {name_of(check) for check in CHECKS["method"]}
    lines = [line for line in PAGE.splitlines() if "check`: " in line]
    named = [name for line in lines for name in re.findall(r"`(\w+)`", line.partition("check`: ")[2].partition(";")[0])]
    assert len(named) > 5
    assert set(named) <= known


def test_every_kind_that_the_commands_name_is_there() -> None:
    named = re.findall(r"faults\.mutate (\w[\w.-]*)", PAGE)
    assert named and set(named) <= set(KINDS)
