"""Ranks settings of a method on validation classes; no test image is scored.

    python benchmarks/choose_on_validation.py spaen dropout=0,0.5 epochs=20,60 -d FOLDER/CUB50 --features lite0

Every combination of the values is run on each fold and seed; runs are kept in the store, so the command goes on where
it stopped. The ranking is by mean AUSUC, which no gamma has to be chosen for. `scale=...` varies feature scaling.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from zslbench.data.folders import data_root
from zslbench.engines.base import Listener
from zslbench.engines.inline import Inline
from zslbench.plan import Request, plan
from zslbench.record import RunRecord
from zslbench.runner import Setup

SHOWN = ("acc_uu", "h", "ausuc")


def run(options: argparse.Namespace, params: dict[str, str], scale: str | None) -> list[RunRecord]:
    """Returns a record for each fold and seed that could be run."""
    records: list[RunRecord] = []
    listener = Listener(
        finished=lambda job, record: records.append(record), failed=lambda job, error: print(f"failed: {error}")
    )
    for fold in range(options.folds):
        request = Request(
            root=data_root().absolute(),
            features=options.features,
            params=params,
            scale=scale,
            seeds=tuple(range(options.seeds)),
            on="validation",
            fold=fold,
        )
        [row] = plan([options.method], [options.dataset], request)
        Inline().execute(row.jobs, Setup(store=options.store), listener)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method")
    parser.add_argument("values", nargs="*", metavar="KEY=V1,V2,...")
    parser.add_argument("-d", "--dataset", required=True)
    parser.add_argument("--features")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--store", type=Path, default=Path("zslbench-runs"))
    options = parser.parse_args()

    names, choices = zip(
        *[(k, v.split(",")) for k, _, v in (pair.partition("=") for pair in options.values)], strict=True
    )
    ranking = []
    for combination in itertools.product(*choices):
        params = dict(zip(names, combination, strict=True))
        shown = " ".join(f"{name}={value}" for name, value in params.items())
        records = run(options, params, params.pop("scale", None))
        if len(records) == options.folds * options.seeds:
            means = [float(np.mean([record.metrics[name] for record in records])) for name in SHOWN]
            ranking.append((means, shown))
            print(f"{shown}: " + ", ".join(f"{n} {100 * m:.1f}" for n, m in zip(SHOWN, means, strict=True)), flush=True)
    print(f"\nby mean AUSUC over {options.folds} folds and {options.seeds} seeds:")
    for means, shown in sorted(ranking, key=lambda item: -item[0][-1]):
        print(f"{100 * means[-1]:6.2f}  {shown}")


if __name__ == "__main__":
    main()
