"""All that is built in keeps all promises, checked as a plugin's author would check it."""

from __future__ import annotations

from collections.abc import Callable

from zslbench.plugins import registry
from zslbench.testing import parametrize_with_checks

BUILT_IN = [
    entry.name
    for kind in ("method", "dataset", "evaluator")
    for entry in registry().entries(kind)
    if entry.plugin.startswith("zslbench:")
]


@parametrize_with_checks(*BUILT_IN)
def test_what_is_built_in_conforms(check: Callable[[], None]) -> None:
    check()
