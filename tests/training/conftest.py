"""Commands in the test's own process."""

from __future__ import annotations

from outside import inside

__all__ = ["inside"]
