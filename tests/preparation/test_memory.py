"""Memory of large arrays is fetched from the kernel once, and given back."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import ctypes, resource, sys
from zslbench.preparation.memory import kept

if not hasattr(ctypes.CDLL(None), "malloc_trim"):
    sys.exit("no glibc")

def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

def used(times):
    before = pages()
    for _ in range(times):
        b"x" * (48 * 2**20)
    return (pages() - before) * resource.getpagesize() / (48 * 2**20)

outside, before = used(20), resident()
with kept():
    print(used(20))
print((resident() - before) / 2**20, outside)
"""


def test_memory_is_fetched_once_for_many_arrays_and_given_back_in_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    if "no glibc" in done.stderr:
        pytest.skip("this C library has no mallopt")
    inside, left, outside = map(float, done.stdout.split())
    assert inside < 2
    assert left < 24
    assert outside > 10, "it is kept without being asked for, and the above says nothing"
