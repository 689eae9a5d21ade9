"""Columns, names and class embeddings of the toy, as tests of shards need them; a cache of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from laidout import Toy

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))


def table(toy: Toy, at: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), at / "own.parquet", **options)
    return at / "own.parquet"


def labels(toy: Toy) -> list[str]:
    return [toy.names[c] for c in toy.y]


class Tagged(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self, kind: Any) -> None:
        super().__init__(kind, "test.tagged")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, kind: Any, told: bytes) -> Tagged:
        return cls(kind)


VECTORS: dict[str, Callable[[np.ndarray], Any]] = {
    "list of half": lambda x: pa.array(list(x.astype(np.float16)), pa.list_(pa.float16())),
    "list of double": lambda x: pa.array(list(x.astype(np.float64)), pa.list_(pa.float64())),
    "large list": lambda x: pa.array(list(x), pa.large_list(pa.float32())),
    "fixed size": lambda x: pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1]),
    "extension": lambda x: pa.ExtensionArray.from_storage(
        Tagged(pa.list_(pa.float32(), x.shape[1])), pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    ),
    "tensor": lambda x: pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(x)),
}


def att(toy: Toy, at: Path) -> Path:
    np.savez(at / "att.npz", att=toy.att, classes=np.array(toy.names))
    return at / "att.npz"
