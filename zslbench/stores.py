"""What a bench does with what is stored: find, check, measure, note, remove, exchange and repeat runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from zslbench.engines.dispatch import Dispatcher
from zslbench.engines.repeat import Repeated, repeat
from zslbench.errors import UsageError
from zslbench.files import expanded
from zslbench.records import archive, exchange, filters
from zslbench.records.archive import Exported as Exported
from zslbench.records.exchange import Imported as Imported
from zslbench.records.listing import Listed, listing
from zslbench.records.record import RunRecord
from zslbench.records.store import Busy, Store
from zslbench.records.verify import Checked, verify
from zslbench.report.results import Result
from zslbench.runs.model import TrainedModel
from zslbench.runs.remeasure import Remeasured, measure


class StoreVerbs:
    """The verbs of a bench that concern its store alone."""

    _folder: Path
    root: Path
    device: str
    _dispatcher: Dispatcher
    _say: Callable[..., None]

    def _opened(self) -> Store:
        return Store(self._folder, create=False)

    def records(self, filter: str = "", *, method: str | None = None, dataset: str | None = None) -> list[Result]:
        """Returns stored runs: all, or those that fit, oldest first.

        Args:
            filter: as for `zslbench runs --filter`: `method=spaen dataset=cub tuned h>30`.
            method: only those of this method, by name as in records.
            dataset: only those of this data set, likewise.
        """
        store = self._opened()
        found = [store.find(run.id) for run in self._listed(store, filter)]
        results = [Result(record, store) for record in found if record is not None]
        return [r for r in results if method in (None, r.method) and dataset in (None, r.dataset)]

    def record(self, run: str) -> Result:
        """Returns the one stored run whose id starts with these characters.

        Raises:
            UsageError: there is none, or more than one.
        """
        store = self._opened()
        return Result(store.lookup(run), store)

    def load_model(self, run: str) -> TrainedModel:
        """Returns the model of the one stored run whose id starts with these characters; see `Result.model`."""
        return self.record(run).model(device=self.device)

    def verify(self) -> list[Checked]:
        """Checks all that is stored: checksums, ids, and metrics computed again from the decisions of each run.

        What is damaged is set aside, so that the call that made it makes it again.

        Returns:
            What was checked; `problem` says what is wrong.
        """
        return verify(self._opened())

    def measure(
        self, runs: Sequence[str] | None = None, *, evaluator: str | None = None, dataset: str | None = None
    ) -> list[Remeasured]:
        """Measures stored runs by evaluators that were installed later, or whose version rose; nothing is trained.

        Args:
            runs: the beginnings of their ids; all runs by default.
            evaluator: this one alone.
            dataset: the data set of these runs, where their records do not say how it is found.
        """
        store = self._opened()
        records = store.records() if runs is None else map(store.lookup, runs)
        return list(measure(store, self.root, list(records), evaluator, dataset))

    def note(self, run: str, text: str) -> None:
        """Writes a note about the one stored run whose id starts with these characters; an empty text removes it.

        It replaces what was written before, and is no part of the run's identity or numbers.
        """
        store = self._opened()
        store.set_note(store.lookup(run).id, text)

    def remove(self, runs: Sequence[str]) -> None:
        """Removes stored runs with all that is kept of them; each is named by the beginning of its id.

        Raises:
            UsageError: there is no such run, then none is removed; or another process executes one of them.
        """
        store = self._opened()
        for run in [store.lookup(run).id for run in runs]:
            try:
                store.remove(run)
            except Busy:
                raise UsageError(f"run {run}: another process executes it now; remove it later") from None

    def export(self, file: str | Path, filter: str = "", *, models: bool = True) -> Exported:
        """Writes runs, and the searches that tuned them, to one ZIP file, which `import_runs` reads.

        Args:
            file: is replaced if it is an export file.
            filter: which runs, as for `records`.
            models: whether kept models go with them.
        """
        store = self._opened()
        runs = self._listed(store, filter)
        if not runs:
            raise UsageError(
                f"no run in {store.root} is to be exported" + (f"; none fits {filter!r}" if filter else "")
            )
        return archive.export(store, expanded(Path(file)), [run.id for run in runs], models=models)

    def import_runs(self, source: str | Path) -> list[Imported]:
        """Takes over runs and searches from an export file or the folder of another store.

        Each is checked before: checksums, id, and metrics computed again from its decisions. Nothing is overwritten.

        Returns:
            What became of each; `problem` says what is wrong.
        """
        return list(exchange.import_runs(Store(self._folder), expanded(Path(source))))

    def repeat(self, run: str, *, dataset: str | None = None) -> Repeated:
        """Trains the one stored run whose id starts with these characters again, and compares; nothing is stored.

        `dataset` says where its data set is found, if its record does not.
        """
        store = self._opened()
        return repeat(store, store.lookup(run), self.root, self._dispatcher, dataset)

    def _listed(self, store: Store, filter: str) -> list[Listed]:
        return filters.chosen(listing(store), [filter])

    def _add_note(self, text: str, records: Sequence[RunRecord]) -> None:
        """Writes a note to runs that have none yet."""
        store = self._opened()
        others = [record.id for record in records if store.note(record.id) not in ("", text)]
        for record in records:
            if record.id not in others:
                store.set_note(record.id, text)
        if others:
            self._say(f"{', '.join(others)}: noted already, and kept as it is; `zslbench runs note` replaces a note")
