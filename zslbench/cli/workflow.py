"""What the commands that run methods share: from options to a bench and to what is asked of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zslbench.cli.options import Options, RunOptions
from zslbench.errors import UsageError

if TYPE_CHECKING:
    from zslbench.bench import Bench
    from zslbench.report.progress import Display


@contextmanager
def bench_of(options: Options) -> Iterator[tuple[Bench, Display]]:
    """Gives the bench that options describe, and what shows its progress."""
    from zslbench.bench import Bench
    from zslbench.report.progress import Display

    display = Display(plain=options.plain or options.json)
    with Bench(
        store=options.store,
        data_root=options.data_root,
        device=options.device,
        jobs=options.jobs,
        engine=options.engine,
        on_event=display,
    ) as bench:
        yield bench, display


def request_of(options: Options, seeds: int = 1) -> dict[str, Any]:
    """Returns the options that say what is asked of a bench, by the names that it has for them.

    Raises:
        UsageError: options contradict each other, or one is no pair.
    """
    from zslbench.api.params import read_pairs
    from zslbench.runs.request import Request

    values = {name: getattr(options, name) for name in Request.model_fields if hasattr(options, name)}
    values |= {"params": read_pairs(options.param or []), "weights": _weights(options.weights or [])}
    values |= {"search": tuple(options.search or ()), "dataset": options.dataset}
    if isinstance(options, RunOptions):
        if options.seed is not None and options.seeds is not None:
            raise UsageError("--seed and --seeds: give one of them")
        values["seeds"] = (options.seed,) if options.seed is not None else options.seeds or seeds
        values["metrics"] = options.metrics
    return values


def _weights(pairs: list[str]) -> dict[str, Path]:
    weights = {}
    for pair in pairs:
        part, separator, file = pair.partition("=")
        if not separator or not part:
            raise UsageError(f"--weights {pair}: give PART=FILE, backbone={pair} for instance")
        weights[part.strip()] = Path(file)
    return weights
