"""What a command that runs methods does between its options and its table: plan, tune, execute, collect."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import cached_property
from typing import Self

from zslbench.api.dataset import Dataset
from zslbench.api.params import Space, read_pairs
from zslbench.cli.options import Options, RunOptions
from zslbench.cli.progress import Display
from zslbench.data.catalogue import dataset_name, find_dataset
from zslbench.data.folders import data_root
from zslbench.discovery.plugins import registry
from zslbench.engines.base import Engine
from zslbench.errors import PluginError, RunError, UsageError, near_misses
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.runs.execute import Job, Setup
from zslbench.runs.fit import method_class
from zslbench.runs.plan import Configuration, Request, Row, configurations, parse_weights, row_of, split_source
from zslbench.runs.provenance import method_code
from zslbench.training import together
from zslbench.training.device import choose_device
from zslbench.tuning.oracle import oracle
from zslbench.tuning.sweep import tuning_metric
from zslbench.tuning.tune import Plan, begin, begin_or_resume, tune

Searches = dict[tuple[str, str], Search]


class Session:
    """One command; `with` closes what it started. Failed runs are kept, and raised at the end by `finish`."""

    def __init__(self, options: Options, seeds: tuple[int, ...] = (0,)) -> None:
        """Checks options that contradict each other or name what does not exist.

        Raises:
            UsageError: they do.
        """
        self.options = options
        self._choice = ""
        self._metric = tuning_metric(options.metric)
        self.display = Display(plain=options.plain or options.json)
        self.request = Request(
            root=data_root(options.data_root).absolute(),
            features=options.features,
            splits=options.splits,
            semantics=options.semantics,
            preset=options.preset,
            params=read_pairs(options.param or []),
            scale=options.scale,
            seeds=seeds,
            precision=options.precision,
            input=options.input,
            pretrained=options.pretrained,
            weights=parse_weights(options.weights or []),
            device=choose_device(options.device).type,
            on=options.on if isinstance(options, RunOptions) else "test",
            fold=options.fold if isinstance(options, RunOptions) else 0,
            calibrated=not isinstance(options, RunOptions) or options.calibrated,
        )
        name = options.engine or ("processes" if options.jobs > 1 else "inline")
        if together.launched_together():
            if name != "inline":
                raise UsageError(f"several processes train one run together here; leave out --jobs and --engine {name}")
            together.join(choose_device(options.device))
        self.engine: Engine = registry().resolve("engine", name, Engine)(options.jobs)

    @cached_property
    def store(self) -> Store:
        """The store; created only when everything that was asked for has been checked."""
        return Store(self.options.store)

    @cached_property
    def setup(self) -> Setup:
        """How runs are executed."""
        return Setup(store=self.options.store, existing=self.options.existing, device=self.options.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.engine.close()

    @cached_property
    def datasets(self) -> list[str]:
        """The data sets asked for; else the benchmark data sets that are there, else the embedded one."""
        if self.options.dataset:
            return list(dict.fromkeys(map(dataset_name, self.options.dataset)))
        request, found = self.request, []
        for entry in registry().entries("dataset"):
            try:
                dataset = registry().resolve("dataset", entry.name, Dataset) if entry.card.benchmark else None
            except PluginError as error:  # nobody asked for this data set by name, so it costs a line and no more
                self.display.say(str(error))
                continue
            if dataset is not None and not dataset.missing(request.root, request.features, request.splits):
                found.append(entry.name)
        if found:
            self._choice = f"data sets present in {request.root}: {', '.join(found)}"
            return found
        fallback = next(entry.name for entry in registry().entries("dataset") if entry.card.embedded)
        self._choice = (
            f"no benchmark data set with features {request.features or 'res101'} in {request.root}; "
            f"using the embedded {fallback} (--dataset names another)"
        )
        return [fallback]

    def configure(self, methods: list[str]) -> list[Configuration]:
        """Returns each method on each data set; says which data sets were found where none was asked for.

        Raises:
            UsageError, DataError, PluginError: a name, parameter or file is wrong; nothing has run yet.
        """
        wanted = configurations(methods, self.datasets, self.request)
        if self._choice:
            self.display.say(self._choice)
        return wanted

    def execute(self, jobs: list[Job], *, quiet: bool = False) -> dict[str, RunRecord | Exception]:
        """Executes runs, and returns what came of each by id; nothing for those that were only wanted if stored."""
        display = self.display
        with display.over(jobs, quiet=quiet) as listener, redirect_stdout(sys.stderr):  # methods and engines may print
            missing, stored = [], []
            afresh = self.options.existing == "rerun"
            lacking = together.agreed({j.spec.id for j in jobs if afresh or self.store.find(j.spec.id) is None})
            for job in jobs:  # what is stored needs no engine, whose processes take seconds to start
                record = None if job.spec.id in lacking else self.store.find(job.spec.id)
                if record is None:
                    missing.append(job)
                else:
                    stored.append(record)
                    listener.finished(job, record)
            if missing:
                self.engine.execute(missing, self.setup, listener)
        self._say_what_is_outdated(stored)
        outcomes: dict[str, RunRecord | Exception] = {}
        for job in jobs:
            outcome = display.records.get(job.spec.id) or display.errors.get(job.spec.id)
            if outcome is not None:
                outcomes[job.spec.id] = outcome
        return outcomes

    def _say_what_is_outdated(self, stored: list[RunRecord]) -> None:
        """Says which stored runs were made by another state of a method that did not raise its version."""
        for name, given in dict.fromkeys((record.spec.method, record.spec.input) for record in stored):
            alike = [record for record in stored if (record.spec.method, record.spec.input) == (name, given)]
            own = [record.provenance.get("method_code", "") for record in alike]
            present = method_code(method_class(name, given))
            if count := sum(code not in ("", present) for code in own):
                runs = "1 stored run was" if count == 1 else f"{count} stored runs were"
                self.display.say(
                    f"warning: {runs} made by another state of {name}'s code; "
                    "--existing rerun repeats what is asked for, a raised `version` keeps them apart"
                )

    def rows(self, methods: list[str]) -> list[Row]:
        """Plans, tunes where that was asked for, executes, and returns the rows of the table with their records."""
        options = self.options
        assert isinstance(options, RunOptions)
        external = [name for name in methods if name.startswith("external:")]
        trained = [name for name in methods if name not in external]
        wanted = self.configure(trained)
        as_found = not options.search and not options.grid
        searches = self.tune(wanted, as_found=as_found) if options.tuned else {}
        rows = [row_of(c, searches.get((c.variant.text, c.source))) for c in wanted]
        for row in rows:
            if options.tuned and row.search is None and not row.refusal:
                row.jobs, row.refusal = [], "its tuning failed"
        rows = self._with_external(rows, external)
        jobs = [job for row in rows for job in row.jobs]
        outcomes = self.execute(jobs)
        for row in rows:
            found = [outcomes.get(job.spec.id) for job in row.jobs]
            row.records += [record for record in found if isinstance(record, RunRecord)]
        if options.existing == "only-cached" and (absent := len(jobs) - len(outcomes)):
            self.display.say(f"{absent} of {len(jobs)} runs are not stored, and --existing only-cached runs none")
        if options.oracle:
            by_key = {(c.variant.text, c.source): c for c in wanted}
            for row in rows:
                if row.search is not None:
                    own = by_key[row.label, row.source]
                    try:
                        row.oracle = oracle(own, row.search, self.quietly, options.device)
                    except RunError as error:  # it costs its own cell
                        self.display.errors[f"oracle of {row.label} on {row.source}"] = error
        return rows

    def tune(self, wanted: list[Configuration], *, afresh: bool = False, as_found: bool = False) -> Searches:
        """Searches for each configuration that can be run; finished searches are not repeated.

        Args:
            wanted: methods on data sets.
            afresh: whether to forget stored searches.
            as_found: whether a finished search will do whatever its space was.

        Raises:
            UsageError: a search is wrong, stored with another space, or only wanted if stored and not there.
        """
        options = self.options
        only_stored = options.existing == "only-cached"
        plans = {}
        for configuration in wanted:
            if not configuration.refusal:
                spaces = [_space(configuration, text) for text in options.search or []]
                key = (configuration.variant.text, configuration.source)
                how = Plan(self._metric, options.folds, options.trials, options.grid, dict(spaces))
                begin(configuration, how)  # every search is checked before the first one starts
                plans[key] = how, configuration
        for how, configuration in plans.values():
            begin_or_resume(configuration, how, self.store, afresh=afresh, only_stored=only_stored, as_found=as_found)
        searches: Searches = {}
        for key, (how, configuration) in plans.items():
            try:
                searches[key] = tune(
                    configuration,
                    how,
                    self.store,
                    self.quietly,
                    device=options.device,
                    afresh=afresh,
                    only_stored=only_stored,
                    as_found=as_found,
                    say=self.display.say,
                )
            except RunError as error:  # it costs its own row
                self.display.errors[f"search of {' on '.join(key)}"] = error
                self.display.say(str(error))
        return searches

    def quietly(self, jobs: list[Job]) -> dict[str, RunRecord | Exception]:
        """Executes trials: one that fails says so in the search's log, and does not fail the command."""
        outcomes = self.execute(jobs, quiet=True)
        for job in jobs:
            self.display.errors.pop(job.spec.id, None)
        return outcomes

    def finish(self) -> None:
        """Raises:
        RunError: a run failed; everything else was done and printed.
        """
        errors, stored = list(self.display.errors.values()), len(self.display.records)
        if errors:
            if self.options.debug:
                raise errors[0]
            if len(errors) + stored == 1:
                raise RunError(str(errors[0]))
            others = "; the others are stored" if stored else ""
            raise RunError(f"{len(errors)} of {len(errors) + stored} runs failed{others}. First: {errors[0]}")

    def _with_external(self, rows: list[Row], names: list[str]) -> list[Row]:
        """Adds a row for each `external:NAME` that has stored scores on these data sets, data set by data set."""
        if not names:
            return rows
        if self.request.on == "validation":
            raise UsageError("--on validation: scores made elsewhere are of test images; leave out external:...")
        stored = [record for record in self.store.records() if record.external]
        known = {record.spec.method for record in stored}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"no stored scores {name!r}{near_misses(name, known)}; `zslbench evaluate --save` stores some"
                )
        result = []
        for dataset in self.datasets:
            own = [row for row in rows if row.source == dataset]
            result += own
            data = find_dataset(split_source(dataset)[0]).load_labels(self.request.root, self.request.splits)
            for name in names:
                matching = [r for r in stored if r.spec.method == name and r.spec.fingerprint == data.fingerprint]
                if matching:
                    latest = max(matching, key=lambda record: record.provenance.get("started", ""))
                    result.append(Row.of_scores(name, dataset, own[0].dataset if own else dataset, data.name, latest))
        for name in names:
            if all(row.label != name for row in result):
                where = sorted({record.spec.dataset for record in stored if record.spec.method == name})
                raise UsageError(
                    f"the scores {name!r} are of {', '.join(where)}, not of {', '.join(self.datasets)}; see --dataset"
                )
        return result


def _space(configuration: Configuration, text: str) -> tuple[str, Space]:
    return configuration.method.params_type.parse_space(text, configuration.owner)
