"""Every kind of file that the product stores or reads: how a good one is made, and what the product makes of it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from synthetic import Files, make_xlsa17

from zslbench.bench import Bench
from zslbench.errors import ZSLBenchError

Answer = dict[str, Any]
"""What came out, as JSON; `stored` lists what was listed from the store, of which a part may be missing."""

NAMES = ["zebra", "otter", "seal", "bat", "rat", "wolf", "horse", "fox", "mole", "lion", "deer"]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: as the command line takes it.
        files: those that are damaged, one at a time; patterns below the working folder.
        make: fills the working folder with good files.
        act: uses them as a user's command does.
        says: what an independent reader takes the damaged file to say, in the form of the answer; None for files with
            a checksum, which must give the same answer or none.
        content: what an independent reader finds in the file, where its answer cannot be computed: another answer than
            the undamaged file's is right only if this is another too.
        as_json: whether values are edited too.
        loses: a folder that a damaged file may cost: what is made again in it is as if it had never been, and need not
            be bit for bit what another machine once stored.
        rot: whether damage keeps the file's time stamps, as a failing disk does.
    """

    name: str
    files: str
    make: Callable[[Path], object]
    act: Callable[[Path], Answer]
    says: Callable[[Path], Answer] | None = None
    content: Callable[[Path], Any] | None = None
    as_json: bool = False
    rot: bool = False
    loses: str = ""

    def targets(self, work: Path) -> list[Path]:
        """Returns the files to damage."""
        found = [path for pattern in self.files.split() for path in sorted(work.glob(pattern)) if path.is_file()]
        assert found, f"{self.name}: no file fits {self.files}"
        return found


def digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16] + str(array.shape)


def write_toy(work: Path, version: str = "5", edit: Callable[[Files], object] | None = None) -> Path:
    def named(files: Files) -> None:
        files["att_splits"]["allclasses_names"] = NAMES
        if edit is not None:
            edit(files)

    return make_xlsa17(work / "data", "TOY", version, named)  # type: ignore[arg-type]


def toy(work: Path) -> Path:
    return work / "data" / "TOY"


def bench(work: Path) -> Bench:
    return Bench(store=work / "store", data_root=work / "data", device="cpu", on_event=None)


def compared(work: Path, methods: list[Any], dataset: Any = None, **options: Any) -> Answer:
    """Compares methods, and returns what is in their records but for times."""
    with bench(work) as own:
        results = own.compare(methods, dataset=dataset or toy(work), seeds=1, **options)
        results.check()
        return {one.method: lasting(one.record.model_dump(mode="json")) for one in results}


def lasting(record: dict[str, Any]) -> dict[str, Any]:
    training = record["training"] or {}
    timeless = {name: value for name, value in training.items() if not name.startswith("seconds")}
    return {**record, "training": timeless, "provenance": {}}


def cli(*arguments: object) -> str:
    """Runs a command in this process; a failed one raises what it printed, an error of ours if that is one line."""
    from zslbench.cli import main

    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["zslbench", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ending:
        if ending.code:
            said = [line for line in err.getvalue().splitlines() if line.startswith("zslbench: ")]
            whole = err.getvalue()
            if len(said) == 1 and ending.code in (1, 2) and "Traceback" not in whole:
                raise ZSLBenchError(said[0]) from None
            raise RuntimeError(f"status {ending.code}: {whole}") from None
    finally:
        sys.argv = before
    return out.getvalue()


def loaded(work: Path) -> Answer:
    """Loads the data set, and returns what is in it."""
    with bench(work) as own:
        data = own.load(toy(work))
    assert data.features is not None
    return arrays_of(
        data.features,
        data.labels,
        data.semantics,
        {"trainval_loc": data.train, "test_seen_loc": data.test_seen, "test_unseen_loc": data.test_unseen},
        list(data.class_names),
    )


def arrays_of(features: Any, labels: Any, semantics: Any, parts: dict[str, Any], names: list[str]) -> Answer:
    with np.errstate(over="ignore"):
        return {
            "features": digest(np.asarray(features, np.float32)),
            "labels": digest(np.asarray(labels, np.float64)),
            "semantics": digest(np.asarray(semantics, np.float32)),
            "names": names,
            **{name: digest(np.sort(np.asarray(rows, np.float64))) for name, rows in parts.items()},
        }
