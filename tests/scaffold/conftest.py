"""Commands with a store and a data root of their own."""

from outside import inside, store

__all__ = ["inside", "store"]
