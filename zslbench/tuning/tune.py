"""The search over a method's hyper-parameters and scaling, on validation classes cut from trainval.

Trials are ordinary runs, proposed in rounds, on the first fold. The best half of them then run on the second fold, the
best quarter on the third, and so on, four at least (successive halving, Jamieson & Talwalkar, AISTATS 2016, with folds
for its resource); the best mean over all folds wins. A round depends only on the earlier rounds, so a search gives the
same result however many runs execute at a time, and however often it was interrupted; where trials train as one, up to
the rounding of float32. A trial of a gradient method is scored after each epoch, so that one run finds the best number
of epochs. It ends when no epoch was better for a quarter of those that the space allows, or when its first quarter was
worse than that of the median trial before it. A method that splits its closed form into `factorize` and `assemble` is
searched over the whole grid instead.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from zlib import crc32

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from zslbench.api.embedder import Embedder
from zslbench.api.params import Space
from zslbench.errors import NotApplicable, RunError, UsageError
from zslbench.records.record import RunRecord
from zslbench.records.search import Search, SearchTrial
from zslbench.records.store import Store
from zslbench.runs.entrant import Entrant, Run, pairs
from zslbench.runs.memory import Where
from zslbench.tuning.space import ROUND, defaults, proposed, search_space
from zslbench.tuning.sweep import sweep, tuning_metric
from zslbench.tuning.trial import Trial

GRID_ROUND = 16
"""Points of a grid run at a time where they are trained as one; they depend on nothing."""
RANDOM = 8
"""Trials at most, and a third of those wanted, before the sampler begins to learn from them."""
LARGEST_GRID = 1000

Execute = Callable[[list[Run], str], dict[str, RunRecord | Exception]]
"""Executes runs and returns what came of each, by id; the text says where the search stands."""


def begin(entrant: Entrant) -> Search:
    """Returns the empty log of the search that the entrant's request asks for."""
    method, request, space = entrant.method, entrant.request, search_space(entrant)
    if not space:
        raise UsageError(f"{entrant.owner} has nothing to search but what is fixed; see --search")
    strategy: Literal["grid", "tpe"] = "grid" if request.grid or shares_factors(method) else "tpe"
    points = math.prod(len(own.grid()) for own in proposed(entrant, space).values())
    if strategy == "grid" and points > LARGEST_GRID:
        raise UsageError(
            f"the grid of {entrant.owner} has {points} points; name fewer values by --search, or take --trials"
        )
    metric = tuning_metric(request.metric)
    try:
        entrant.drawn(entrant.data, 0).split_for(0)
    except NotApplicable as reason:
        raise UsageError(f"{entrant.owner} cannot be tuned on {entrant.data.name}: {reason}; see --shots") from None
    return Search(
        **entrant.identity,
        base=dict(entrant.fixed),
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        folds=request.folds,
        strategy=strategy,
        space=space,
        wanted=points if strategy == "grid" else request.trials,
    )


def shares_factors(method: type[Embedder[Any]]) -> bool:
    """Whether one factorisation serves a whole grid: it is all that there is to training, of features."""
    if method.input != "features":
        return False
    ways = ("factorize", "solve", "loss", "objectives", "stages")
    return [name for name in ways if getattr(method, name) is not getattr(Embedder, name)] == ["factorize"]


@dataclass
class Tuner:
    """Searches, whose logs it keeps in a store.

    Attributes:
        execute: executes trials.
        where: the device and the memory with which whole grids are solved.
        say: prints a line of progress.
        afresh: whether to forget a stored search.
        as_found: whether a finished search will do whatever its space was.
        stacked: whether trials are trained as one, so that there should be many at a time.
    """

    store: Store
    execute: Execute
    where: Where
    say: Callable[[str], None] = lambda line: None
    afresh: bool = False
    as_found: bool = False
    stacked: bool = False
    since: tuple[float, int] = field(default=(0.0, 0), init=False)
    """When the search under way began or went on, and with how many fits."""
    known: dict[str, RunRecord | Exception] = field(default_factory=dict, init=False)
    """What came of the runs of the search under way, by id."""

    def begin_or_resume(self, entrant: Entrant) -> Search:
        """Returns the log of the search that is asked for as far as it is stored, else an empty one."""
        search = begin(entrant)
        what = f"{search.method} on {search.dataset}"
        stored = None if self.afresh else self.store.find_search(search.id)
        if stored is not None:
            if difference := stored.difference(search):
                if self.as_found and stored.finished:
                    return stored
                state = "finished" if stored.finished else "begun"
                raise UsageError(
                    f"a search of {what} was {state} with another space: {difference}; "
                    "give that space to go on, or begin anew by `zslbench tune --existing rerun`"
                )
            search = stored.model_copy(update={"wanted": max(stored.wanted, search.wanted)})
        if entrant.request.existing == "only-cached" and not search.finished:
            raise UsageError(
                f"no finished search of {what} with {search.wanted} trials is stored, "
                "and --existing only-cached runs none"
            )
        return search

    def tune_each(self, entrants: list[Entrant], errors: dict[str, Exception]) -> dict[int, Search]:
        """Returns the search of each entrant that can be run, by its `id()`; one that fails is added to the errors.

        Finished searches are not repeated. Every search is checked before the first one starts.
        """
        able = [entrant for entrant in entrants if not entrant.refusal]
        for entrant in able:
            begin(entrant)  # before the store is touched
        for entrant in able:
            self.begin_or_resume(entrant)
        searches = {}
        for entrant in able:
            try:
                searches[id(entrant)] = self.tune(entrant)
            except RunError as error:  # it costs its own row
                errors[f"search of {entrant.label} on {entrant.source}"] = error
                self.say(str(error))
        return searches

    def tune(self, entrant: Entrant) -> Search:
        """Searches, or goes on with a search that was interrupted or is to have more trials; returns its log."""
        search = self.begin_or_resume(entrant)
        if not search.finished:
            self.store.prepare()
            self.since, self.known = (time.monotonic(), search.fits), {}
            self.say(
                f"tuning {search.method} on {search.dataset} by {tuning_metric(search.metric).title} on validation "
                f"classes: {search.wanted} trials, {search.plan}"
            )
            search = self._grid(entrant, search) if search.strategy == "grid" else self._tpe(entrant, search)
        if not search.complete:
            reasons = [trial.reason for trial in search.trials if trial.reason]
            raise RunError(f"no trial of {search.method} on {search.dataset} was completed; first: {reasons[0]}")
        return search

    def _grid(self, entrant: Entrant, search: Search) -> Search:
        """Tries every combination, those still missing."""
        own = proposed(entrant, search.space)
        combinations = itertools.product(*(space.grid() for space in own.values()))
        points = [dict(zip(own, values, strict=True)) for values in combinations]
        if shares_factors(entrant.method):
            return self._saved(search, dict(enumerate(sweep(entrant, points, search, self.where))))
        count = GRID_ROUND if self.stacked else ROUND
        while not search.tried_all:
            start = len(search.trials)
            some = dict(enumerate(points[start : start + count], start))
            search = self._round(entrant, search, some, [[0], list(range(1, search.folds))][: search.folds])
        return search

    def _tpe(self, entrant: Entrant, search: Search) -> Search:
        """Lets Optuna's tree-structured Parzen estimator propose points (Bergstra et al., NIPS 2011)."""
        optuna.logging.set_verbosity(logging.WARNING)
        own = proposed(entrant, search.space)
        distributions = {name: _distribution(space) for name, space in own.items()}
        while not search.tried_all:
            study = _study(search, distributions)
            if not search.trials:
                first = defaults(entrant)
                study.enqueue_trial({name: first[name] for name, space in own.items() if space.holds(first[name])})
            start = len(search.trials)  # of a search that is to have more trials, it may be in the middle of a round
            numbers = range(start, min(start // ROUND * ROUND + ROUND, search.wanted))
            points = {number: _rounded(study.ask(distributions).params, search.space) for number in numbers}
            search = self._round(entrant, search, points, [[0]])
        while (due := search.due)[1]:
            points = {number: {name: search.trials[number].params[name] for name in own} for number in due[1]}
            search = self._round(entrant, search, points, [[fold] for fold in range(due[0] + 1)])
        return search

    def _round(
        self, entrant: Entrant, search: Search, points: dict[int, dict[str, Any]], groups: list[list[int]]
    ) -> Search:
        """Tries points, by number, on some folds and those that do not fail there on the next; stores the log."""
        begun = [Trial(entrant, search, number, point) for number, point in points.items()]
        for folds in groups:
            alive = [trial for trial in begun if not trial.reason]
            runs = {fold: [trial.run(fold) for trial in alive] for fold in folds}
            new = {run.id: run for own in runs.values() for run in own if run.id not in self.known}
            if new:
                self.known |= self.execute(list(new.values()), self._status(search, alive, folds))
            for fold in folds:
                for trial, run in zip(alive, runs[fold], strict=True):
                    trial.add(self.known[run.id])
        return self._saved(search, {trial.number: trial.ended() for trial in begun})

    def _status(self, search: Search, alive: list[Trial], folds: list[int]) -> str:
        """Returns where a search stands that is about to run some trials on some folds."""
        numbers = [trial.number + 1 for trial in alive]
        which = f"trials {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"trial {numbers[0]}"
        parts = [f"the best {len(alive)} trials" if search.tried_all else f"{which} of {search.wanted}"]
        last = f" to {folds[-1] + 1}" if len(folds) > 1 else ""
        parts += [f"fold{'s' * bool(last)} {folds[0] + 1}{last} of {search.folds}"] * (search.folds > 1)
        parts += [best for best, _ in _best(search)]
        began, before = self.since
        if made := search.fits - before:
            each = (time.monotonic() - began) / made
            parts.append(f"about {each * search.fits_left:.0f} s left")
        return ", ".join(parts)

    def _saved(self, search: Search, trials: dict[int, SearchTrial]) -> Search:
        """Stores the log with these trials, by their number."""
        known = dict(enumerate(search.trials)) | trials
        search = search.model_copy(update={"trials": [known[number] for number in range(len(known))]})
        self.store.save_search(search)
        for best, params in _best(search):
            self.say(f"{len(search.trials)} of {search.wanted} trials: {best} with {pairs(params)}")
        return search


def _best(search: Search) -> list[tuple[str, dict[str, Any]]]:
    """Returns the best value so far in words, and its parameters: of all folds or, until then, of the first."""
    metric = tuning_metric(search.metric)
    if search.complete:
        return [(f"best {metric.title} {metric.text(search.best.value)}", search.best.params)]
    folds = max([1, *(len(trial.means) for trial in search.trials)])
    first = [search.trials[number] for number in search.ranked(folds)[:1]]
    where = "the first fold" if folds == 1 else f"the first {folds} folds"
    return [(f"best {metric.title} {metric.text(one.means[-1])} on {where}", one.params) for one in first]


_STATES = {"pruned": "PRUNED", "failed": "FAIL"}


def _distribution(space: Space) -> BaseDistribution:
    if space.choices is not None:
        return CategoricalDistribution(space.choices)
    assert space.low is not None and space.high is not None
    if space.integer:
        return IntDistribution(int(space.low), int(space.high), log=space.log)
    return FloatDistribution(space.low, space.high, log=space.log)


def _study(search: Search, distributions: dict[str, BaseDistribution]) -> optuna.Study:
    """Returns a study that knows the trials made so far, and nothing else, so that going on is going on as before."""
    with warnings.catch_warnings():  # options that Optuna calls experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(
            seed=_seed(search),
            n_startup_trials=max(1, min(RANDOM, search.wanted // 3)),
            multivariate=True,
            constant_liar=True,
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for trial in search.trials:
        value = trial.means[0] if trial.means else trial.value if trial.state == "complete" else None
        frozen = optuna.trial.create_trial(
            state=optuna.trial.TrialState[_STATES[trial.state] if value is None else "COMPLETE"],
            value=None if value is None else search.worth(value),
            params={name: trial.params[name] for name in distributions},
            distributions=distributions,
            intermediate_values={fold + 1: search.worth(value) for fold, value in enumerate(trial.values)},
        )
        study.add_trial(frozen)
    return study


def _seed(search: Search) -> int:
    """Returns another seed for each method and round; the data decide nothing but by the trials' values."""
    return (crc32(search.method.encode()) + len(search.trials)) % 2**32


def _rounded(point: dict[str, Any], space: dict[str, Space]) -> dict[str, Any]:
    """Returns the point with three significant digits, which people can read, or more in a narrow space; inside it."""
    result = dict(point)
    for name, value in point.items():
        low, high = space[name].low, space[name].high
        if isinstance(value, float) and value and low is not None and high is not None:
            digits = 3 + max(0, math.floor(math.log10(abs(value) / (high - low))))
            result[name] = min(max(float(f"{value:.{digits}g}"), low), high)
    return result
