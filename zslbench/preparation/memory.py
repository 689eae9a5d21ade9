"""Memory of large activations, kept for the next batch: the C library would give each back and fetch it anew."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4
"""Parameters of glibc's mallopt."""
LARGEST = 2**25
"""Bytes up to which glibc itself comes to keep memory: the most that its own threshold rises to."""


@contextmanager
def kept() -> Iterator[None]:
    """Keeps memory that is freed inside for what is allocated next, and gives it back in the end; glibc alone can.

    Otherwise whatever takes more than 32 MB is mapped and unmapped each time, and the kernel fills each page with zeros
    first: half the processor time of a small network on a CPU.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield
        return
    library.mallopt(MMAP_MAX, 0)
    library.mallopt(TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        library.mallopt(MMAP_MAX, 65536)
        library.mallopt(MMAP_THRESHOLD, LARGEST)
        library.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
        library.malloc_trim(0)
