"""Every method keeps the promises that zslbench asks of all methods."""

from __future__ import annotations

from collections.abc import Callable

import zslbench_modern

from zslbench.testing import parametrize_with_checks


@parametrize_with_checks(*zslbench_modern.METHODS)
def test_every_method_keeps_the_promises_of_methods(check: Callable[[], None]) -> None:
    check()
