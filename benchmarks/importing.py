"""Imports features in shards that are larger than memory, and says how long it took and how much memory.

python benchmarks/importing.py                       # 200,000 images x 2048 in half precision: 0.8 GB of Parquet
python benchmarks/importing.py --format tar --images 50000
python benchmarks/importing.py --images 1281167 --limit 1.5GB

The features are noise of 1,100 classes. Everything is written below --folder and deleted in the end: the shards, the
data set, and what the cache has of both, 14 bytes for each of the numbers. `zslbench data import` runs in a process of
its own. RLIMIT_DATA limits its private memory, and that of the process in which it reads its .mat file back. The page
cache is not limited.

Output is a line of JSON: seconds to make the shards and to import them, sizes in MB, and the most private memory
(RssAnon) of the command and of the process that it starts, in MB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from zslbench.runs.memory import read_memory

SEEN, UNSEEN, ATTRIBUTES = 1000, 100, 300
EACH = 20_000
"""Images of a shard."""


def write_tables(folder: Path) -> list[str]:
    """Writes class embeddings and who is unseen, and returns the names of the classes."""
    random = np.random.default_rng(0)
    names = [f"class {c + 1}" for c in range(SEEN + UNSEEN)]
    rows = (",".join(f"{value:.3f}" for value in random.random(ATTRIBUTES)) for _ in names)
    lines = [f"{name},{row}" for name, row in zip(names, rows, strict=True)]
    (folder / "embeddings.csv").write_text("\n".join(lines) + "\n")
    roles = [f"{name},{'seen' if c < SEEN else 'unseen'}" for c, name in enumerate(names)]
    (folder / "split.csv").write_text("class,role\n" + "\n".join(roles) + "\n")
    return names


def write_shards(folder: Path, kind: str, images: int, width: int) -> list[Path]:
    """Writes shards with features, the name of the class, and the name of the image, and returns them."""
    names, random, paths = write_tables(folder), np.random.default_rng(1), []
    for start in range(0, images, EACH):
        rows = range(start, min(start + EACH, images))
        x = random.standard_normal((len(rows), width), dtype=np.float32).astype(np.float16)
        classes = [names[row % len(names)] for row in rows]
        paths.append(folder / f"shard-{len(paths):05d}.{kind}")
        (write_parquet if kind == "parquet" else write_tar)(paths[-1], x, classes, rows)
    return paths


def write_parquet(path: Path, x: np.ndarray, classes: list[str], rows: range) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    columns = {
        "features": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1]),
        "label": pa.array(classes),
        "path": pa.array([f"{row:07d}.jpg" for row in rows]),
    }
    pyarrow.parquet.write_table(pa.table(columns), path, compression="none", use_dictionary=["label"])


def write_tar(path: Path, x: np.ndarray, classes: list[str], rows: range) -> None:
    with tarfile.open(path, "w") as archive:
        for features, own, row in zip(x, classes, rows, strict=True):
            stream = io.BytesIO()
            np.save(stream, features)
            for kind, content in (("npy", stream.getvalue()), ("txt", own.encode())):
                member = tarfile.TarInfo(f"{row:07d}.{kind}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def private(pid: int) -> float:
    """Returns the private memory of a process, in MB; 0 once it has ended."""
    with suppress(OSError, KeyError, ValueError):
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(lines["RssAnon"].split()[0]) / 1000
    return 0.0


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(own) for own in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def imported(folder: Path, paths: list[Path], limit: int | None) -> dict[str, float]:
    """Imports shards, and returns the seconds and the most memory that it took."""
    words = ["--splits", folder / "split.csv", "--semantics", folder / "embeddings.csv", "--as", folder / "made"]
    command = [sys.executable, "-m", "zslbench", "data", "import", *map(str, [*paths, *words]), "--plain"]

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    most: dict[str, float] = defaultdict(float)
    began = time.monotonic()
    variables = {**os.environ, "ZSLBENCH_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=variables, preexec_fn=limited, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            most["command"] = max(most["command"], private(process.pid))
            most["reader"] = max(most["reader"], *map(private, children(process.pid)), 0)
            time.sleep(0.05)
        told = process.stdout.read() if process.stdout else ""
        if process.returncode:
            said = process.stderr.read() if process.stderr else ""
            raise SystemExit(f"{told}{said}the import ended with status {process.returncode}")
    return {"import_s": round(time.monotonic() - began, 1), **{f"{name}_mb": round(mb) for name, mb in most.items()}}


def size_of(paths: list[Path]) -> int:
    return round(sum(path.stat().st_size for path in paths) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--format", choices=["parquet", "tar"], default="parquet")
    parser.add_argument("--limit", default="1.5GB", help="private memory of each process; 0 for no limit")
    parser.add_argument("--folder", type=Path, help="where to write; by default the folder for temporary files")
    options = parser.parse_args()
    limit = None if options.limit == "0" else read_memory(options.limit)
    with TemporaryDirectory(dir=options.folder) as name:
        began = time.monotonic()
        paths = write_shards(Path(name), options.format, options.images, options.width)
        made = round(time.monotonic() - began, 1)
        sizes = {"images": options.images, "width": options.width, "shards": len(paths), "shards_mb": size_of(paths)}
        took = imported(Path(name), paths, limit)
        written = size_of([path for path in Path(name, "made").iterdir() if path.is_file()])
        print(json.dumps({"format": options.format, **sizes, "make_s": made, **took, "written_mb": written}))


if __name__ == "__main__":
    main()
