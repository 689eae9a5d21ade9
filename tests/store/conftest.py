"""Commands with a store and a data root of their own; methods that die and print."""

from elsewhere import odd, reference
from outside import inside, store

__all__ = ["inside", "odd", "reference", "store"]
