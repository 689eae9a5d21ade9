"""Run records on disk."""

from zslbench.store.store import Busy, Store

__all__ = ["Busy", "Store"]
