"""Searches with a store of their own."""

from searching import run, store

__all__ = ["run", "store"]
