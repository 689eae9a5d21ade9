"""The test-peek gap: how much choosing hyper-parameters on the test images would have gained.

Much of the literature prints such numbers. Here they stand beside a row, are never ranked, and are not used for
anything.
"""

from __future__ import annotations

from zslbench.errors import RunError
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.runs.entrant import Entrant
from zslbench.runs.memory import Where
from zslbench.tuning.sweep import measure
from zslbench.tuning.tune import Execute, shares_factors


def oracle(entrant: Entrant, search: Search, execute: Execute, where: Where) -> float:
    """Returns the best figure on test images, by the search's own metric, among the trials that were not dropped."""
    points = [trial.params for trial in search.trials if trial.state != "failed" and not trial.hopeless]
    values: list[float]
    seed = entrant.request.seeds[0]
    if shares_factors(entrant.method):
        found = measure(entrant, points, (), search.metric, where, seed)
        values = [value for value in found if isinstance(value, float)]
    else:
        origin, fixed = f"oracle of search {search.id}", search.base
        runs = [entrant.run(seed, params=fixed | point, origin=origin, calibrated=False) for point in points]
        outcomes = execute(list({run.id: run for run in runs}.values()), "the best trials on test images").values()
        values = [o.metrics[search.metric] for o in outcomes if isinstance(o, RunRecord) and search.metric in o.metrics]
    if not values:
        raise RunError(f"no trial of {search.method} on {search.dataset} could be run on all of trainval")
    return max(values, key=search.worth)
