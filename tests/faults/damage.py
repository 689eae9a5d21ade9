"""Damage to files: what disks, cables, editors and interrupted copies do to them, drawn by a seeded generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

Damage = tuple[str, bytes]
"""What was done, in words, and the damaged content."""

NEAR = 600
"""Half of all places are this close to an end of the file, where its head and its directory lie."""


def damaged(content: bytes, random: Random, as_json: bool = False) -> Damage:
    """Returns a file's content after one accident, which is never the content as it was."""
    ways = [*BYTES, *([edit_json] * len(BYTES) if as_json else [])]
    while True:
        what, result = random.choice(ways)(content, random)
        if result != content:
            return what, result


def _place(content: bytes, random: Random) -> int:
    if random.random() < 0.5:
        return random.randrange(len(content))
    near = random.randrange(min(NEAR, len(content)))
    return near if random.random() < 0.5 else len(content) - 1 - near


def _block(content: bytes, random: Random) -> tuple[int, int]:
    """Returns where a block begins and ends: of a sector's size, or smaller in a small file."""
    size = min(random.choice([4, 16, 64, 512]), max(1, len(content) // 4))
    start = min(_place(content, random), len(content) - size) // size * size
    return start, start + size


def flip_bit(content: bytes, random: Random) -> Damage:
    result, place, bit = bytearray(content), _place(content, random), random.randrange(8)
    result[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped", bytes(result)


def flip_bits(content: bytes, random: Random) -> Damage:
    count, result = random.randint(2, 16), content
    for _ in range(count):
        result = flip_bit(result, random)[1]
    return f"{count} bits flipped", result


def cut(content: bytes, random: Random) -> Damage:
    place = random.choice([0, _place(content, random), random.randrange(len(content))])
    return f"cut after {place} bytes", content[:place]


def zero(content: bytes, random: Random) -> Damage:
    start, end = _block(content, random)
    return f"bytes {start} to {end} zeroed", content[:start] + bytes(end - start) + content[end:]


def duplicate(content: bytes, random: Random) -> Damage:
    start, end = _block(content, random)
    return f"bytes {start} to {end} twice", content[:end] + content[start:]


def swap(content: bytes, random: Random) -> Damage:
    (a, b), (c, d) = sorted([_block(content, random), _block(content, random)])
    if b > c:
        return "nothing", content
    return f"bytes {a} to {b} and {c} to {d} swapped", b"".join(
        [content[:a], content[c:d], content[b:c], content[a:b], content[d:]]
    )


def insert(content: bytes, random: Random) -> Damage:
    place, what = _place(content, random), random.randbytes(random.choice([1, 2, 8, 64]))
    return f"{len(what)} bytes put in at {place}", content[:place] + what + content[place:]


BYTES: list[Callable[[bytes, Random], Damage]] = [flip_bit, flip_bit, flip_bits, cut, zero, duplicate, swap, insert]


def edit_json(content: bytes, random: Random) -> Damage:
    """Changes, removes or adds one value of a JSON file, as an editor would: all the rest stays well-formed."""
    values = json.loads(content)
    holders = list(_holders(values))
    holder = random.choice(holders)
    key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    if random.random() < 0.15:
        del holder[key]
        return f"{key!r} removed", json.dumps(values).encode()
    before, holder[key] = holder[key], _other(holder[key], random)
    return f"{key!r} changed from {before!r:.40} to {holder[key]!r:.40}", json.dumps(values, indent=1).encode()


def _holders(value: Any) -> Any:
    """Yields every dict and list that has something in it."""
    if isinstance(value, dict | list):
        if value:
            yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item)


def _other(value: Any, random: Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        ways = [value + 1, -value, value * 1.01, value * 2, 0, float("nan"), float("inf"), 10**30, str(value), None]
        return random.choice(ways)
    if isinstance(value, str) and value:
        place = random.randrange(len(value))
        return random.choice([value[:place] + "x" + value[place + 1 :], "", value + "x", 7, None])
    return random.choice([None, 0, "x", [], {}, [value]])
