"""Results of a comparison, as tables for people and as data frames for everything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

from zslbench.api.cards import SCALINGS
from zslbench.api.evaluator import Decisions
from zslbench.errors import DataError, NotApplicable, RunError, UsageError, near_misses, printable
from zslbench.evaluation.accuracy import seen_unseen_curve
from zslbench.evaluation.measuring import metrics
from zslbench.files import expanded, write_whole
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.report.builders import comparison_tables, field_tables, in_groups
from zslbench.report.detail import print_record
from zslbench.report.grids import write_pairs
from zslbench.report.render import FORMATS, format_of, html_table
from zslbench.report.rows import named_metrics, summary
from zslbench.report.table import Table, with_columns
from zslbench.report.terminal import print_tables
from zslbench.runs.kept import Kept
from zslbench.runs.model import TrainedModel
from zslbench.runs.row import Row

Arrays = Mapping[str, NDArray[Any]]
TASKS = ("acc_uu", "acc_ut", "acc_st")


class Result:
    """One run: its record, and everything derived from each test image's decision.

    Attributes:
        record: everything that is kept about the run.
        id: its id; `zslbench show ID` prints it.
        method: the name of the method.
        dataset: the name of the data set.
        seed: the seed.
        metrics: every metric by name; accuracies are fractions in [0, 1].
        params: all hyper-parameters, defaults included.
        home: the store that has it; None for scores that are not stored.
    """

    def __init__(self, record: RunRecord, store: Store | None, arrays: Arrays | None = None) -> None:
        self.record, self.id = record, record.id
        self.method, self.dataset, self.seed = record.spec.method, record.spec.dataset, record.spec.seed
        self.metrics, self.params = record.metrics, record.params
        self.home, self._arrays = store, arrays

    def arrays(self) -> Arrays:
        """Returns the arrays stored beside the record, by name.

        Raises:
            DataError: the file is missing or damaged.
        """
        if self._arrays is None:
            assert self.home is not None
            self._arrays = self.home.arrays(self.record)
        return self._arrays

    def decisions(self) -> Decisions:
        """Returns each test image's best seen and unseen class; classes are positions in `record.class_names`."""
        return Decisions.of(self.arrays())

    def per_class(self) -> pd.DataFrame:
        """Returns per-class top-1 as fractions: a row for each class, a column for each task.

        The columns are `seen` (whether the class is seen), `acc_uu`, `acc_ut` and `acc_st`. A class has no value if the
        task has none of its images. The mean of a column is the metric of that name.
        """
        decisions, names = self.decisions(), self.record.class_names
        seen = {names[c] for c in np.unique(decisions.y[decisions.seen])}
        tasks = {f"acc_{task.replace('->', '')}": own for task, own in self.record.per_class.items()}
        tested = [name for name in names if any(name in own for own in tasks.values())]
        table = pd.DataFrame(tasks, index=tested, columns=[name for name in TASKS if name in tasks])
        table.insert(0, "seen", [name in seen for name in tested])
        return table.rename_axis("class")

    def confusion(self, gamma: float | None = None) -> pd.DataFrame:
        """Returns how many images of each class (rows) were recognised as each class (columns), among all classes.

        `gamma` is subtracted from the scores of seen classes; by default 0.
        """
        decisions, names = self.decisions(), self.record.class_names
        counts = np.zeros((len(names), len(names)), dtype=np.int64)
        np.add.at(counts, (decisions.y, decisions.choice(gamma or 0.0)), 1)
        return pd.DataFrame(counts, index=pd.Index(names, name="class"), columns=pd.Index(names, name="given to"))

    def curve(self) -> pd.DataFrame:
        """Returns the seen-unseen curve: a row for each interval of gamma, with its start and U->T and S->T there.

        The columns are `gamma`, `acc_ut` and `acc_st`; the area below it is AUSUC (Chao et al., ECCV 2016).
        """
        curve = seen_unseen_curve(self.decisions())
        gamma = np.concatenate([[-np.inf], curve.gaps])
        return pd.DataFrame({"gamma": gamma, "acc_ut": curve.acc_ut[0], "acc_st": curve.acc_st[0]})

    def model(self, *, device: str = "auto") -> TrainedModel:
        """Returns the final model; it embeds, scores and recognises any images.

        Raises:
            DataError: the run kept no model, or its file is damaged.
            UsageError, PluginError: the method is not installed in that version.
        """
        if self.home is None:
            raise DataError("scores that were made elsewhere have no model")
        where = self.home.model_path(self.record) or self.id
        return TrainedModel(self.record, Kept.unpacked(self.home.model(self.record), where), where, device)

    def show(self, *, plain: bool = False) -> None:
        """Prints settings, metrics with intervals, the curve, extreme classes, confusions, provenance."""
        model = None if self.home is None else self.home.model_path(self.record)
        print_record(self.record, self.arrays(), Console(no_color=plain), plain=plain, model=model)

    def __repr__(self) -> str:
        figures = ", ".join(f"{name}={value:.4g}" for name, value in self.metrics.items())
        return f"Result({self.method} on {self.dataset}, seed {self.seed}: {figures})"


class Results(Sequence[Result]):
    """A row for each method and data set; as a sequence, its runs.

    Attributes:
        rows: the rows, with runs, records and tuned hyper-parameters.
        chosen: the metrics of tables, if not the default ones.
        errors: the failures, by run; printed below the tables, and raised by `check`.
        columns: the headings of columns that tables show beside the first; all if empty.
        searches: the logs of the searches that chose hyper-parameters; for the results of a store, all stored ones.
    """

    def __init__(
        self,
        rows: list[Row],
        store: Store | Mapping[str, Store] | None,
        metrics: str | Sequence[str] | None = None,
        errors: Mapping[str, Exception] | None = None,
        arrays: Mapping[str, Arrays] | None = None,
    ) -> None:
        """Collects what came of each method on each data set; `arrays` has, by id, what the store does not keep.

        `store` is that of all runs, or the store of each by id. `metrics` are the names or titles of those that tables
        show; by default those that say so themselves.

        Raises:
            UsageError: there is no such metric.
        """
        self.rows, self.errors = rows, dict(errors or {})
        self.searches = list({row.search.id: row.search for row in rows if row.search}.values())
        self.chosen, self.columns = named_metrics(metrics), list[str]()
        beside, records = arrays or {}, [record for row in rows for record in row.records]
        homes = store if isinstance(store, Mapping) else dict.fromkeys((record.id for record in records), store)
        self._results = [Result(record, homes.get(record.id), beside.get(record.id)) for record in records]

    def __len__(self) -> int:
        return len(self._results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> list[Result]: ...
    def __getitem__(self, index: int | slice) -> Result | list[Result]:
        return self._results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    def arrays(self, record: RunRecord) -> Arrays:
        """Returns the arrays beside one of the records, stored or not."""
        return next(result for result in self if result.id == record.id).arrays()

    def check(self) -> None:
        """Raises:
        NotApplicable: one method was asked for, and it can be run on none of the data sets.
        RunError: a run failed; the others were done.
        """
        errors = list(self.errors.values())
        if errors:
            total, others = len(errors) + len(self), "; the others are stored" if len(self) else ""
            first = f"{len(errors)} of {total} runs failed{others}. First: " if total > 1 else ""
            raise RunError(f"{first}{errors[0]}") from errors[0]
        refusals = [row.refusal for row in self.rows]
        if refusals and all(refusals) and len({row.label for row in self.rows}) == 1:
            raise NotApplicable(refusals[0])

    def frame(self) -> pd.DataFrame:
        """Returns one row per run: what was run, every metric as a fraction, every hyper-parameter, times, id.

        Hyper-parameters are called `param_NAME`, because some have the name of a metric. Those that a method lacks are
        missing in its rows.
        """
        lines: list[dict[str, Any]] = []
        for row in self.rows:
            for record in row.records:
                training, spec = record.training, record.spec
                of_run = {"method": row.label, "dataset": row.dataset, "features": spec.features, "seed": spec.seed}
                of_run |= {"semantics": spec.semantics, **spec.scaling._asdict(), "pretraining": row.pretraining}
                of_run |= {} if spec.shots is None else {"shots": spec.shots}
                params = {f"param_{name}": value for name, value in record.params.items()}
                seconds = training.seconds if training else np.nan
                validation = training.seconds_validation if training else np.nan
                costs = {"chosen_by": record.params_from, "seconds": seconds, "seconds_validation": validation}
                lines.append({**of_run, **record.metrics, **params, **costs, "id": record.id})
        first = ["method", "dataset", "features", "pretraining", "semantics", *SCALINGS, "seed"]
        last = ["chosen_by", "seconds", "seconds_validation", "id"]
        first += ["shots"] * any("shots" in line for line in lines)
        names = list(dict.fromkeys(name for line in lines for name in line if name not in (*first, *last)))
        of_params = [name for name in names if name.startswith("param_")]
        metrics = [name for name in names if name not in of_params]
        table = pd.DataFrame(lines, columns=[*first, *metrics, *of_params, *last])
        return table.astype({name: _kind([line[name] for line in lines if name in line]) for name in of_params})

    def summary(self) -> pd.DataFrame:
        """Returns one row per method and data set, with the same names as in `frame`.

        The columns of each metric are its mean over seeds, `_std`, `_low` and `_high`, the 95 % interval over test
        images. The metric that rows are tested in also has `_group`: the test does not separate rows that share a
        letter.
        """
        lines = [line for made in self._field() for line in made.data]
        rows = [row for group in in_groups(self.rows) for row in group]
        table = pd.DataFrame(lines).rename(columns={"method": "title", "label": "method"})
        if not lines:
            return table
        table["dataset"], table["oracle"] = [row.dataset for row in rows], table["oracle"].astype(float)
        shown = ["method", "dataset", "features", "pretraining", "semantics", *SCALINGS, "seeds"]
        for name in dict.fromkeys(name for row in rows for record in row.records for name in record.metrics):
            own = [[r.intervals[name] for r in row.records if name in r.intervals] for row in rows]
            if any(own):
                ends = [np.mean(some, axis=0) if some else (np.nan, np.nan) for some in own]
                table[f"{name}_low"], table[f"{name}_high"] = np.array(ends).T
            shown += [column for part in ("", "_std", "_low", "_high", "_group") if (column := name + part) in table]
        return table[[*shown, *table.columns.difference(shown, sort=False)]]

    def tables(self, kind: Literal["compare", "field"] = "compare") -> list[Table]:
        """Returns a table for each data set: `field` has intervals, cost, and tests of which rows really differ."""
        made = comparison_tables(self.rows, self.chosen) if kind == "compare" else self._field()
        return [with_columns(table, self.columns) for table in made]

    def text(self, format: str = "text", *, command: str = "") -> str:
        """Returns the tables with tests as `text`, `markdown`, `latex`, `csv` or `json`; `html` is the whole report.

        Args:
            format: one of these.
            command: what makes the results again, which the report then says.

        Raises:
            UsageError: there is no such format.
        """
        if format == "html":
            from zslbench.report.html import report_of

            return report_of(self, command)
        if format not in FORMATS:
            raise UsageError(f"unknown format {format!r}{near_misses(format, [*FORMATS, 'html'])}")
        return FORMATS[format](self.tables("field"))

    def save(self, path: str | Path, *, command: str = "") -> Path:
        """Writes the tables with tests, or the whole report, to a file, and returns its path.

        Args:
            path: its ending chooses: `.html` the report; `.md`, `.tex`, `.csv`, `.json` or `.txt` the tables.
            command: what makes the results again, which the report then says.

        Raises:
            UsageError: no format has this ending, or there is no such folder.
            NotWritten: the file cannot be written.
        """
        target = expanded(Path(path))
        write_whole(target, self.text(format_of(target), command=command).rstrip("\n") + "\n")
        return target

    def figure(self, path: str | Path) -> list[Path]:
        """Draws the metrics of the tables, or AUSUC, against the number of training images; returns the files.

        It needs runs of several `shots`. The file is `.png` or `.pdf`; both are written.

        Raises:
            UsageError: the path ends otherwise, or there are not several numbers of shots.
            DataError: there is nothing to draw, or a file cannot be written.
        """
        from zslbench.report.shots import write_shots

        ranking = [metric for metric in metrics().values() if metric.ranks]
        return write_shots(expanded(Path(path)), self.rows, self.chosen or ranking)

    def json(self) -> dict[str, Any]:
        """Returns all records, and means and deviations over seeds, as JSON values."""
        return {"runs": [result.record.model_dump(mode="json") for result in self], "summary": summary(self.rows)}

    def show(self, kind: Literal["compare", "field"] = "compare", *, plain: bool = False) -> None:
        """Prints the tables, as bare text if `plain` or in a pipe."""
        print_tables(self.tables(kind), plain=plain)

    def draw(self) -> list[tuple[str, Path]]:
        """Draws the reconstructions of runs beside their records; returns the path of each run's picture."""
        labels = {record.id: f"{row.label}, seed {record.spec.seed}" for row in self.rows for record in row.records}
        kept = [(result, result.home) for result in self]
        pictures = [(labels[result.id], write_pairs(result.record, home)) for result, home in kept if home]
        return [(label, path) for label, path in pictures if path]

    def __repr__(self) -> str:
        return "\n".join([FORMATS["text"](self.tables()).rstrip("\n"), *self._failures()])

    def _repr_html_(self) -> str:
        failures = [f"<p>{escape(line)}</p>" for line in self._failures()]
        return "\n".join([*map(html_table, self.tables()), *failures])

    def _failures(self) -> list[str]:
        return [printable(f"failed: {run}: {error}") for run, error in self.errors.items()]

    def _field(self) -> list[Table]:
        return field_tables(self.rows, self, self.chosen)


def _kind(values: list[Any]) -> str:
    """Returns the dtype of a column with these values and perhaps gaps; gaps must not turn a count into a float."""
    kinds = {type(value) for value in values}
    return {frozenset([bool]): "boolean", frozenset([int]): "Int64", frozenset([float]): "float64"}.get(
        frozenset(kinds), "object"
    )
