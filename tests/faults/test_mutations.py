"""No damage to a stored or a read file becomes another number, a traceback, a signal or a gigabyte."""

from __future__ import annotations

from collections import Counter

import pytest
from faults.mutate import KINDS, mutations, repeat
from faults.trial import BAD, Case

QUICK, SLOW = 2, 300
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
def test_hundreds_of_mutations_of_every_kind_are_noticed_or_harmless(name: str) -> None:
    assert not bad(mutations(name, range(SLOW), SEED))


def test_a_stored_file_that_is_not_checked_would_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite can fail: with checksums that fit anything, some damage to records becomes a number."""
    from zslbench import files

    monkeypatch.setattr(files, "_digest", lambda body: "0" * files.DIGITS)
    found = Counter(case.verdict for case in mutations("record", range(30), SEED))
    assert found["WRONG NUMBER"] > 0, found
