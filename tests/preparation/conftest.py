"""Commands run in the test's own process."""

from outside import inside, store

__all__ = ["inside", "store"]
