"""What a search saves, and loses, by trials that end early, and by fewer trials on further folds.

python benchmarks/stopping.py [-d digits shapes] [-m devise sje ale latem cmt spaen] [--trials 12] [--folds 3]
    [--csv FILE]

Random settings of each method's search space train all epochs on validation classes. Then their curves of AUSUC tell
what a search would have seen that ends a trial after some share of the epochs without a better value; that also ends
one whose first epochs, of the same share, were worse than the median of the trials before it; and that also runs all
trials on the first fold, the best half on the second, the best quarter on the third, four at least. For each share: the
epochs left, and what the best trial loses, in points, means over methods and data sets.
"""

from __future__ import annotations

import argparse
import math
import random
import tempfile
from itertools import chain, product
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zslbench import Bench
from zslbench.api.params import Space
from zslbench.records.search import halved
from zslbench.runs.resolve import method_class
from zslbench.tuning.space import ROUND, floor, patience

SHARES = (0.1, 0.15, 0.2, 0.25, 0.33, 0.5)
RULES = ("patience", "median", "halving")
Curve = NDArray[np.float64]


def drawn(space: Space) -> object:
    """Returns a random value of a search space, with three digits."""
    if space.choices is not None:
        return random.choice(space.choices)
    assert space.low is not None and space.high is not None
    low, high = (math.log(end) if space.log else end for end in (space.low, space.high))
    value = random.uniform(low, high)
    value = math.exp(value) if space.log else value
    return round(value) if space.integer else float(f"{value:.3g}")


def curves(bench: Bench, method: str, dataset: str, trials: int, folds: int) -> list[list[Curve]]:
    """Returns the curve of each trial on each fold; trials that fail on one are left out."""
    spaces = method_class(method).params_type.search_space()
    most = max(spaces.pop("epochs").grid())
    random.seed(0)
    ways = [",".join(f"{name}={drawn(own)}" for name, own in spaces.items()) for _ in range(trials)]
    asked = [f"{method}:{way},epochs={most}" for way in dict.fromkeys(ways)]
    found: list[list[Curve]] = [[] for _ in asked]
    for fold in range(folds):
        results = bench.compare(asked, dataset=dataset, on="validation", fold=fold, seeds=1)
        for own, result in zip(found, results, strict=True):
            training = result.record.training
            own += [np.array([epoch["ausuc"] for epoch in training.watched])] if training else []
    return [own for own in found if len(own) == folds]


def ended(curve: Curve, borne: int) -> Curve:
    """Returns the part of a curve that is seen where so many epochs without a better value end it."""
    since = np.array([epoch - curve[: epoch + 1].argmax() for epoch in range(len(curve))])
    over = np.flatnonzero(since >= borne)
    return curve[: over[0] + 1] if len(over) else curve


def value(trial: list[Curve]) -> float:
    """Returns the best mean over folds, in percent, at an epoch that all of them reached."""
    length = min(map(len, trial))
    return float(100 * np.mean([curve[:length] for curve in trial], axis=0).max())


def seen(found: list[list[Curve]], borne: int, rules: int) -> tuple[list[list[Curve]], list[list[Curve]]]:
    """Returns the parts of curves that a search sees that has so many of `RULES`.

    Those of trials that run on all folds come first, then those of the others.
    """
    complete: list[list[Curve]] = []
    others: list[list[Curve]] = []
    early: list[float] = []
    for number, trial in enumerate(found):
        if number % ROUND == 0:
            below = floor(early) if rules > 1 and borne < len(trial[0]) else None
        first = float(trial[0][:borne].max())
        if below is not None and first < below:
            others.append([trial[0][:borne]])
        else:
            complete.append([ended(curve, borne) for curve in trial])
            early.append(first)
    for fold in range(1, len(found[0]) if rules > 2 else 0):
        complete.sort(key=lambda trial: -value(trial[:fold]))
        best = halved(len(found), fold)
        others += [trial[:fold] for trial in complete[best:]]
        complete = [cut(trial, fold) for trial in complete[:best]]
    return complete, others


def cut(trial: list[Curve], fold: int) -> list[Curve]:
    """Returns the curves of a trial that trains on a fold no epoch that one before has not."""
    most = min(map(len, trial[:fold]))
    return [*trial[:fold], trial[fold][:most], *trial[fold + 1 :]]


def rows(method: str, dataset: str, found: list[list[Curve]]) -> list[dict[str, object]]:
    """Returns a row for each share and number of rules."""
    epochs = method_class(method).params_type.search_space()["epochs"]
    lines: list[dict[str, object]] = []
    for share, rules in product(SHARES, range(1, len(RULES) + 1)):
        complete, others = seen(found, patience(epochs, share), rules)
        left = sum(map(len, chain(*complete, *others))) / sum(map(len, chain(*found)))
        lost = max(map(value, found)) - max(map(value, complete))
        whole = {"method": method, "data set": dataset, "share": share, "rules": " + ".join(RULES[:rules])}
        lines.append(whole | {"epochs left": left, "points lost": lost})
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", nargs="+", default=["digits", "shapes"])
    parser.add_argument("-m", "--methods", nargs="+", default=["devise", "sje", "ale", "latem", "cmt", "spaen"])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="write every row to this file too")
    given = parser.parse_args()
    lines: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as store, Bench(store=Path(store)) as bench:
        for dataset in given.dataset:
            for method in given.methods:
                lines += rows(method, dataset, curves(bench, method, dataset, given.trials, given.folds))
    table = pd.DataFrame(lines)
    if given.csv:
        table.to_csv(given.csv, index=False)
    wide = table.pivot(index=["data set", "method"], columns=["rules", "share"], values=["epochs left", "points lost"])
    print(wide.round(2).to_string())
    print(
        table.groupby(["rules", "share"], sort=False)[["epochs left", "points lost"]]
        .agg(["mean", "max"])
        .round(2)
        .to_string()
    )


if __name__ == "__main__":
    main()
