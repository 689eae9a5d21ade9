"""No damage to a stored or a read file becomes another number, a traceback, a signal or a gigabyte."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from faults.mutate import KINDS, mutations, repeat
from faults.trial import BAD, Case

pytestmark = pytest.mark.usefixtures("forks")

QUICK, SLOW = 2, 20
"""Mutations of each kind; `python -m tests.faults.mutate --all` makes as many as one likes."""
DEAR = {"schema-1-record", "schema-1-index", "weights.pth", "weights.safetensors"}
"""Kinds of which one mutation takes more than half a second."""
SEED = 0


def bad(cases: list[Case]) -> list[str]:
    return [
        f"{case.verdict}: {case.what}: {case.detail}\n{repeat(case, SEED)}" for case in cases if case.verdict in BAD
    ]


@pytest.mark.parametrize("name", KINDS)
def test_a_few_mutations_of_every_kind_are_noticed_or_harmless(name: str) -> None:
    assert not bad(mutations(name, range(1 if name in DEAR else QUICK), SEED))


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_more_mutations_of_every_kind_are_noticed_or_harmless(name: str) -> None:
    assert not bad(mutations(name, range(QUICK, SLOW), SEED))


UNCHECKED = """
from zslbench import files
files._digest = lambda body: "0" * files.DIGITS
from faults.mutate import mutations, warm_up
warm_up()
print([case.verdict for case in mutations("record", range(30))].count("WRONG NUMBER"))
"""


def test_a_stored_file_that_is_not_checked_would_be_caught() -> None:
    """The suite can fail: with checksums that fit anything, some damage to records becomes a number."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", UNCHECKED]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 0
