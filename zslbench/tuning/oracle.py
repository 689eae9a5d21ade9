"""The test-peek gap: what choosing hyper-parameters on the test images would have gained.

Much of the literature prints such numbers. Here they are shown beside a row, never ranked, and never used for anything.
"""

from __future__ import annotations

from zslbench.errors import RunError
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.runs.plan import Configuration
from zslbench.training.device import choose_device
from zslbench.tuning.sweep import measure
from zslbench.tuning.tune import Execute, shares_factors


def oracle(configuration: Configuration, search: Search, execute: Execute, device: str) -> float:
    """Returns the best figure on test images, by the search's own metric, among the search's complete trials.

    Raises:
        RunError: none of the trials could be run on all of trainval.
    """
    points = [trial.params for trial in search.complete]
    values: list[float]
    if shares_factors(configuration.method):
        found = measure(configuration, points, (), search.metric, choose_device(device))
        values = [value for value in found if isinstance(value, float)]
    else:
        seed = configuration.request.seeds[0]
        jobs = {}
        for point in points:
            params, origin = {**search.base, **point}, f"oracle of search {search.id}"
            job = configuration.job(seed, "test", params=params, origin=origin, calibrated=False)
            jobs[job.spec.id] = job
        outcomes = execute(list(jobs.values())).values()
        values = [o.metrics[search.metric] for o in outcomes if isinstance(o, RunRecord) and search.metric in o.metrics]
    if not values:
        raise RunError(f"no trial of {search.method} on {search.dataset} could be run on all of trainval")
    return max(values)
