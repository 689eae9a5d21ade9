"""Bench: the workflow. It resolves a request, tunes, finds the missing runs, executes them, and collects results.

bench = Bench(store="runs", jobs=4)
results = bench.compare(["spaen", "devise", "sae"], dataset=["cub", "sun"], seeds=3, tuned=True)
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from numpy.typing import ArrayLike

from zslbench.api.cards import Input, Pretraining, Setting
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.events import OnEvent
from zslbench.data.catalogue import load_data
from zslbench.data.folders import data_root as chosen_root
from zslbench.data.scorefile import score_file, validation_file
from zslbench.data.semantics import OWN
from zslbench.data.xlsa17 import SPLITS
from zslbench.discovery.plugins import registry
from zslbench.engines.dispatch import Dispatcher
from zslbench.errors import PluginError, RunError, UsageError, ZSLBenchError
from zslbench.files import expanded
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import Store, checked_note
from zslbench.report.exhibits import Made, entrants_of, make_all
from zslbench.report.progress import Display
from zslbench.report.results import Results
from zslbench.report.rows import named_metrics
from zslbench.runs.execute import Setup
from zslbench.runs.external import PREFIX, evaluate_scores, with_scores
from zslbench.runs.kept import KeepModel
from zslbench.runs.measure import requested
from zslbench.runs.memory import read_memory
from zslbench.runs.request import (
    Asked,
    DatasetLike,
    Many,
    MethodLike,
    Request,
    methods_of,
    name_of,
    seeds_of,
)
from zslbench.runs.requested import Datasets, chosen_datasets, data_of, data_or_labels, labels_of
from zslbench.runs.resolve import check_options, method_class, resolve
from zslbench.runs.row import Row
from zslbench.runs.shots import scarce
from zslbench.runs.stacking import checked_stack
from zslbench.stores import StoreVerbs
from zslbench.training import together
from zslbench.training.device import choose_device
from zslbench.tuning.oracle import oracle
from zslbench.tuning.space import search_space
from zslbench.tuning.sweep import tuning_metric
from zslbench.tuning.tune import Execute, Tuner

STORE = "zslbench-runs"
"""The default store."""


class Bench(StoreVerbs):
    """Holds what several calls share: the store, the data folder, the device, and the engine with its processes.

    `with Bench() as bench:` ends the processes that it started.
    """

    def __init__(
        self,
        *,
        store: str | Path | None = None,
        data_root: str | Path | None = None,
        device: str = "auto",
        jobs: int | None = None,
        engine: str | None = None,
        keep_model: KeepModel | None = None,
        stack: int | Literal["auto"] = "auto",
        memory: str | int | None = None,
        on_event: OnEvent | Literal["progress"] | None = "progress",
    ) -> None:
        """Checks the settings. It writes nothing until something runs.

        Args:
            store: folder of the run records; by default `ZSLBENCH_STORE`, else `zslbench-runs`.
            data_root: folder of the data sets; by default `ZSLBENCH_DATA`, else the user's data folder.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.
            jobs: runs at a time, each in its own process; by default one, or what the engine has room for.
            engine: `NAME` or `NAME:KEY=VALUE,...`; by default `processes` with several jobs, else `inline`.
            keep_model: whether final models are kept beside records: `auto` keeps those up to 64 MB, `always` all, and
                `never` none; by default `ZSLBENCH_KEEP_MODEL`, else `auto`.
            stack: how many fits of one method, trials, folds or seeds, may be trained as one; 1 for none. `auto` trains
                trials of searches so where that is faster, and other runs alone, so that their numbers are the same
                whichever runs are asked for with them.
            memory: what training features may take, `8GB` or bytes; larger ones are read from disk, with equal results;
                by default `ZSLBENCH_MEMORY`, else half of the memory of the machine or of its GPU.
            on_event: function that receives each event; by default a progress bar on standard error. None is silent.

        Raises:
            UsageError: a setting is out of range, or names something that does not exist.
        """
        if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
            raise UsageError(f"jobs={jobs!r}: give a whole number from 1")
        if not (on_event is None or on_event == "progress" or callable(on_event)):
            raise UsageError(f"on_event={on_event!r}: give 'progress', None, or a function of one Event")
        self.device = device
        self.root = chosen_root(None if data_root is None else Path(data_root)).absolute()
        choose_device(device)
        name = engine or ("processes" if (jobs or 1) > 1 else "inline")
        if together.launched_together() and name != "inline":
            raise UsageError(f"several processes train one run together here; leave out --jobs and --engine {name}")
        self._folder = expanded(Path(store or os.environ.get("ZSLBENCH_STORE") or STORE))
        told = Display() if isinstance(on_event, str) else on_event
        kept = keep_model or os.environ.get("ZSLBENCH_KEEP_MODEL") or "auto"
        if kept not in get_args(KeepModel):
            raise UsageError(f"keep_model={kept!r}: choose {', '.join(get_args(KeepModel))}")
        self._setup = Setup(
            store=self._folder.absolute(),
            device=device,
            keep_model=cast(KeepModel, kept),
            stack=checked_stack(stack),
            memory=read_memory(os.environ.get("ZSLBENCH_MEMORY") or None if memory is None else memory),
        )
        self._dispatcher = Dispatcher(name, jobs, told, self._setup)
        self._say = self._dispatcher.say

    def __repr__(self) -> str:
        return f"Bench(store={str(self._folder)!r}, data_root={str(self.root)!r}, device={self.device!r})"

    @cached_property
    def store(self) -> Store:
        """The store. Its folders are made when there is something to store."""
        return Store(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes that the engine keeps."""
        self._dispatcher.close()

    def run(
        self,
        method: MethodLike,
        *,
        dataset: Datasets = None,
        seeds: int | Sequence[int] = 1,
        metrics: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Results:
        """Trains and measures one method. It takes the arguments of `compare`, but one seed by default.

        Raises:
            NotApplicable: the method can run on none of the data sets.
            RunError: a run failed; the others were completed.
        """
        results = self.compare([method], dataset=dataset, seeds=seeds, metrics=metrics, **options)
        results.check()
        return results

    def compare(
        self,
        methods: Many,
        *,
        dataset: Datasets = None,
        seeds: int | Sequence[int] = 3,
        metrics: str | Sequence[str] | None = None,
        note: str = "",
        **options: Any,
    ) -> Results:
        """Trains and measures methods on data sets; stored runs are not repeated.

        Args:
            methods: each is a name (`spaen`, `sae@f2s`, `spaen:alpha=0,beta=0`), a file, a class, an embedder (its
                parameters are used), or `external:NAME` for stored scores.
            dataset: one or several names (`cub`, `awa1@bow512`, `shapes:size=64`), folders, `Dataset`s or `ZSLData`;
                by default every benchmark data set that is present, else the embedded one.
            seeds: how many seeds, counted from 0, or which seeds.
            metrics: which metrics the tables show, by name or title; by default those with `shown`.
            note: a text for lists and exports, written to the runs; runs that have a note keep theirs.
            options: as in `Request`: `features`, `splits`, `semantics`, `preset`, `params`, `scale`,
                `semantics_scale`, `shots`, `precision`, `input`, `pretrained`, `weights`, `on`, `fold`, `calibrated`,
                `existing`, `tuned`, `oracle`, and for `tuned` `metric`, `folds`, `trials`, `grid`, `search`. `seed`
                names a single seed. Any other name is a hyper-parameter of every method.

        Returns:
            A row for each method and data set. Failed runs are in `errors`.

        Raises:
            UsageError, DataError, PluginError: a name, parameter or file is wrong; nothing has run yet.
        """
        every = methods_of(methods)
        external = [method for method in every if isinstance(method, str) and method.startswith(PREFIX)]
        wanted = [method for method in every if method not in external]
        request, note = self._request(seeds, options, wanted, "seeds", "metrics", "note"), checked_note(note)
        if external and request.on == "validation":
            raise UsageError("--on validation: scores made elsewhere are of test images; leave out external:...")
        wished = named_metrics(metrics) or []  # a mistyped name is found before anything runs
        shown = wished + [tuning_metric(request.metric)] * request.tuned
        execute = partial(self._dispatcher.execute, store=self.store, evaluators=requested(shown))
        sources, lines = chosen_datasets(dataset, request)
        entrants = resolve(wanted, sources, request)
        self._say(*lines, *scarce((entrant.data, entrant.shots) for entrant in entrants))
        rows = [Row.of(entrant) for entrant in entrants]
        if external:  # a name without stored scores is found before anything runs
            labels = {name_of(source): labels_of(source, self.root, request.splits) for source in sources}
            rows = with_scores(rows, external, labels, self.store)
        errors: dict[str, Exception] = {}
        if request.tuned:
            tunable = [entrant for entrant in entrants if search_space(entrant)] or entrants  # others are all fixed
            as_found = not request.search and not request.grid
            tuner = self._tuner(partial(execute, existing=request.existing), as_found=as_found)
            searches = tuner.tune_each(tunable, errors)
            rows = [row.tuned(searches.get(id(row.entrant))) if row.entrant in tunable else row for row in rows]
        runs = [run for row in rows for run in row.runs]
        outcomes = execute(runs, existing=request.existing, errors=errors)
        for row in rows:
            found = [outcomes.get(run.id) for run in row.runs]
            row.records += [record for record in found if isinstance(record, RunRecord)]
        if request.existing == "only-cached" and (absent := len(runs) - len(outcomes)):
            self._say(f"{absent} of {len(runs)} runs are not stored, and --existing only-cached runs none")
        if request.oracle:
            self._add_oracles(rows, partial(execute, existing="reuse"), errors)
        if note:
            self._add_note(note, [record for row in rows for record in row.records])
        return Results(rows, self.store, metrics, errors)

    def tune(self, methods: Many, *, dataset: Datasets = None, **options: Any) -> list[Search]:
        """Chooses hyper-parameters on validation classes; `tuned=True` then uses them.

        Options: `metric`, `folds`, `trials`, `grid`, `search`, and those of `compare` but `tuned`, `oracle` and seeds.

        Raises:
            NotApplicable: a method cannot run on a data set.
            UsageError: a search is wrong, or stored with another space.
            RunError: no trial of a search could be completed; the other searches were completed.
        """
        wanted = methods_of(methods)
        request = self._request(1, options, wanted)
        sources, lines = chosen_datasets(dataset, request)
        entrants = resolve(wanted, sources, request)
        self._say(*lines, *scarce((entrant.data, entrant.shots) for entrant in entrants))
        for entrant in entrants:
            entrant.check_refusal()
        errors: dict[str, Exception] = {}
        evaluators = requested([tuning_metric(request.metric)])
        execute = partial(self._dispatcher.execute, store=self.store, existing=request.existing, evaluators=evaluators)
        searches = self._tuner(execute, afresh=request.existing == "rerun").tune_each(entrants, errors)
        for error in errors.values():
            raise error
        return list(searches.values())

    def evaluate(
        self,
        scores: str | Path | ArrayLike,
        dataset: DatasetLike,
        *,
        images: str | Path | ArrayLike | None = None,
        name: str | None = None,
        setting: Setting | Literal["unknown"] = "unknown",
        splits: str = "att_splits",
        save: bool = False,
        validation: str | Path | tuple[ArrayLike, ArrayLike] | None = None,
        metrics: str | Sequence[str] | None = None,
        pretraining: Pretraining = "unknown",
    ) -> Results:
        """Measures class scores for every test image, made by any other code.

        Args:
            scores: a table or a file of arrays, as `read_scores` reads it, or an array `(images, classes)`.
            dataset: the data set of the scores.
            images: numbers of the images from 1, if the file does not have them; a file or an array.
            name: the name in tables; by default the file's.
            setting: what the method used in training.
            splits: split file, `NAME.mat`.
            save: whether to keep a record; `external:NAME` then shows it.
            validation: scores of the validation part for the classes of trainval, to choose gamma on: a file, or
                an array and the numbers of its images. They must come from a model trained on the rest of trainval
                alone. `data.split_for(0)` and `zslbench data split` give these images.
            metrics: measure these too, of those that are measured on request; by name or title.
            pretraining: what the network behind the features was trained on.

        Raises:
            DataError: the scores do not fit the images and classes of the data set's test or validation part.
        """
        file = score_file(scores, images, name or "scores")
        held_out = None if validation is None else validation_file(validation)
        data, also = labels_of(dataset, self.root, splits), named_metrics(metrics) or []
        record, arrays = evaluate_scores(
            file, data, name or file.path.stem, setting, held_out, requested(also), pretraining
        )
        if save:
            self.store.prepare()
            with self.store.claim(record.id, wait=True):
                record = self.store.save(record, arrays)
        row = Row.of_scores(record.spec.method, name_of(dataset), name_of(dataset), data.name, record)
        return Results([row], self.store if save else None, None, {}, {record.id: arrays})

    def paper(
        self,
        method: str,
        out: Path,
        *,
        exhibits: Sequence[str] = (),
        dataset: Datasets = None,
        seeds: int | Sequence[int] = 3,
        note: str = "",
        **options: Any,
    ) -> tuple[dict[str, Made], dict[str, ZSLBenchError], Results]:
        """Makes the figures and tables that a method's card declares, in the folder `out`. Options as for `compare`.

        `exhibits` names some of them, such as `table-2`; by default it makes all.

        Returns:
            What was made and what could not be made, by exhibit, and the results used.
        """
        request = self._request(seeds, options, [method], "seeds", "metrics", "note")
        if len(request.shots) > 1:
            raise UsageError("--shots: exhibits of a paper are made of one number; `compare --figure` shows several")
        if len(request.semantics) > 1:
            raise UsageError(
                "the exhibits of a paper have rows of one kind of class embeddings; give one by --semantics"
            )
        asked, (sources, lines) = Asked.of(method).for_input(request.input), chosen_datasets(dataset, request)
        chosen = asked.card.exhibits_of(asked.method, exhibits)
        entrants, problems = entrants_of(chosen, sources, request)
        self._say(*lines)
        labels = list(dict.fromkeys(entrant.asked.label for own in entrants.values() for entrant in own))
        results = Results([], self.store, None, {})
        if labels:  # some exhibits are of the data alone
            results = self.compare(labels, dataset=sources, seeds=seeds, note=note, **options)
        rows = {(row.label, row.source): row for row in results.rows}
        shown = {name: [rows[e.asked.label, e.source] for e in own] for name, own in entrants.items()}
        loaded = partial(map, partial(data_or_labels, request=request), sources)
        made, failed = make_all(chosen, shown, self.store, lambda: list(loaded()), out)
        return made, problems | failed, results

    def load(
        self, dataset: str | Path | Dataset, *, features: str | None = None, splits: str = SPLITS, semantics: str = OWN
    ) -> ZSLData:
        """Returns the arrays of a data set: features, labels, class embeddings and the proposed split.

        Args:
            dataset: a name, a folder, or a `Dataset`.
            features: visual features, `NAME.mat`; by default the data set's own.
            splits: split file, `NAME.mat`.
            semantics: class embeddings: `att`, `original`, or a file.

        Raises:
            UsageError, DataError: there is no such data set, or its files are missing or wrong.
        """
        request = self._request(1, {"features": features, "splits": splits, "semantics": semantics}, [])
        return data_of(chosen_datasets([dataset], request)[0][0], request, "features", semantics)[0]

    def methods(self, input: Input = "features") -> list[str]:
        """Returns every method on features or on images that can be loaded; reports those that cannot."""
        names = []
        for name in registry().names("method"):
            try:
                names += [name] * (method_class(name).input == input)
            except PluginError as error:  # nobody asked for it by name, so it costs a line and no more
                self._say(str(error))
        return names

    def _request(
        self, seeds: int | Sequence[int], options: Mapping[str, Any], methods: list[MethodLike], *further: str
    ) -> Request:
        """Returns the request; `further` are names of other options, to suggest for a misspelt one."""
        known = Request.model_fields.keys() - {"root", "seeds"}
        values = {name: value for name, value in options.items() if name in known}
        params = {name: value for name, value in options.items() if name not in known and name != "seed"}
        values["params"] = {**values.get("params", {}), **params}
        chosen = seeds_of((options["seed"],) if "seed" in options else seeds)
        request = Request.of({**values, "root": self.root, "seeds": chosen})
        words = [*known, *further, "dataset", *inspect.signature(Bench).parameters]
        check_options(params, methods, request.input, words)
        load_data.cache_clear()  # files may have changed since the last call
        return request

    def _tuner(self, execute: Execute, **how: bool) -> Tuner:
        return Tuner(self.store, execute, self._setup.where, self._say, stacked=self._dispatcher.stacks, **how)

    def _add_oracles(self, rows: list[Row], trials: Execute, errors: dict[str, Exception]) -> None:
        for row in rows:
            if row.entrant is not None and row.search is not None:
                try:
                    row.oracle = oracle(row.entrant, row.search, trials, self._setup.where)
                except RunError as error:  # it costs its own cell
                    errors[f"oracle of {row.label} on {row.source}"] = error
