"""All that is built in keeps all promises, checked as a plugin's author would check it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zslbench.discovery.plugins import registry
from zslbench.testing import parametrize_with_checks

BUILT_IN = [
    entry.name
    for kind in ("method", "dataset", "evaluator")
    for entry in registry().entries(kind)
    if entry.plugin.startswith("zslbench:")
]
VARIANTS = ["sae-image", "splitbranch"]
"""Their code is that of DirectMap but for a few lines, and on images the checks take half a minute each."""


@parametrize_with_checks(*(name for name in BUILT_IN if name not in VARIANTS))
def test_what_is_built_in_conforms(check: Callable[[], None]) -> None:
    check()


@pytest.mark.slow
@parametrize_with_checks(*VARIANTS)
def test_variants_of_what_is_built_in_conform(check: Callable[[], None]) -> None:
    check()
