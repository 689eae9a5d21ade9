"""Row: one method on one data set, a run for each seed, and their results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from zslbench.data.xlsa17 import SPLITS
from zslbench.discovery.plugins import registry
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.spec import RunSpec
from zslbench.runs.entrant import Entrant, Run
from zslbench.runs.request import split_source
from zslbench.runs.shots import shots_words


def words(preset: str, given: Mapping[str, Any]) -> list[str]:
    """Returns a preset and parameters as they are printed: `@preset`, `key=value`."""
    return [*([f"@{preset}"] if preset else []), *(f"{key}={value}" for key, value in given.items())]


@dataclass
class Row:
    """One method on one data set: a run for each seed, and their records once they exist.

    Attributes:
        label: the method as asked for.
        uses: what it may use in training.
        source: the data set as asked for.
        dataset: name (with options) or folder name, as in commands.
        dataset_title: as printed in papers.
        runs: none for scores made elsewhere, and none where it is refused; one where no seed changes the result.
        given: parameters given by hand.
        added_preset: its preset if that is not in `label`: the command chose it.
        added: parameters given by hand that are not in `label`.
        refusal: why it cannot be run here.
        search: where its hyper-parameters were tuned.
        oracle: the best figure on test images among the search's trials; for the test-peek gap alone.
        published_as: how published numbers call it, where that is not its title.
        stored_as_published: of stored runs, whether they were scored as published methods are.
        distinction: what tells it from rows that would be called alike.
        entrant: method and data; None for scores made elsewhere.
    """

    label: str
    title: str
    uses: str
    source: str
    dataset: str
    dataset_title: str
    runs: list[Run] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    preset: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    added_preset: str = ""
    added: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""
    search: Search | None = None
    oracle: float | None = None
    published_as: str = ""
    stored_as_published: bool = False
    distinction: str = ""
    entrant: Entrant | None = None

    @classmethod
    def of(cls, entrant: Entrant, search: Search | None = None) -> Row:
        """Returns the row of an entrant, with the tuned preset of a search where there is one."""
        request, asked, card = entrant.request, entrant.asked, entrant.card
        how: dict[str, Any] = {"calibrated": request.calibrated}
        if search is not None:
            how |= {"params": search.tuned, "origin": search.origin}
        alike = entrant.method.deterministic and entrant.shots is None  # each seed draws images of its own
        seeds = request.seeds[:1] if alike else request.seeds
        runs = [] if entrant.refusal else [entrant.run(seed, request.on, request.fold, **how) for seed in seeds]
        name = split_source(entrant.source)[0]
        return cls(
            label=entrant.label,
            title=card.title,
            uses=entrant.setting,
            source=entrant.source,
            dataset=name if name.partition(":")[0] in registry().names("dataset") else entrant.data.name,
            dataset_title=entrant.data.name,
            runs=runs,
            preset=entrant.preset,
            given=entrant.given,
            added_preset="" if asked.preset else entrant.preset,
            added={key: value for key, value in entrant.given.items() if key not in asked.given},
            refusal=entrant.refusal,
            search=search,
            published_as=card.published_as,
            entrant=entrant,
        )

    @classmethod
    def of_records(cls, records: list[RunRecord], source: str, search: Search | None = None) -> Row:
        """Returns the row of stored runs that differ in their seeds alone; neither data nor method need be there.

        `source` names the data; `search` is the log of the search that chose the hyper-parameters, if it is known.
        """
        first, spec = records[0], records[0].spec
        entry = registry().entry("method", spec.method) if spec.method in registry().names("method") else None
        found = re.match(r"preset ([^:]+): ", first.params_from)
        preset = found[1] if found else ""
        typed = re.findall(r"(\w+)=", f" + {first.params_from}".partition(" + given ")[2])
        values = first.params if preset else spec.params  # what is typed may be the default
        given = {name: values[name] for name in typed if name in values}
        reduced = bool(entry and preset in entry.card.presets and entry.card.presets[preset].reduced)
        kept = first.provenance
        published = spec.on == "test" and "semantics" not in kept and kept.get("splits", "").startswith(SPLITS)
        published = published and spec.shots is None
        label = "".join([spec.method, f"@{preset}" * bool(preset), _pairs(given), " (tuned)" * first.tuned])
        return cls(
            label=" ".join([label, *shots_words(spec.shots)]),
            title=entry.card.title if entry else spec.method,
            uses=spec.setting,
            source=source,
            dataset=str(kept.get("dataset") or spec.dataset),
            dataset_title=spec.dataset,
            records=records,
            preset=preset,
            given=given,
            search=search,
            published_as=entry.card.published_as if entry else "",
            stored_as_published=published and not reduced and not first.external,
        )

    def tuned(self, search: Search | None) -> Row:
        """Returns the row with what its search chose, or without runs if that failed; others as they are."""
        if self.entrant is None or self.refusal:
            return self
        return replace(self, runs=[], refusal="its tuning failed") if search is None else Row.of(self.entrant, search)

    @classmethod
    def of_scores(cls, name: str, source: str, dataset: str, title: str, record: RunRecord) -> Row:
        """Returns the row of scores that were made elsewhere."""
        return cls(name, name, record.spec.setting, source, dataset, title, records=[record])

    @property
    def spec(self) -> RunSpec | None:
        """What its runs share beside the seed; None where there are none."""
        made = [record.spec for record in self.records if not record.external]
        return self.runs[0].spec if self.runs else made[0] if made else None

    @property
    def origin(self) -> str:
        """Where the hyper-parameters of its runs come from; empty where there are none."""
        return self.runs[0].origin if self.runs else self.records[0].params_from if self.spec else ""

    @property
    def tuned_by_search(self) -> bool:
        """Whether a search chose its hyper-parameters, be its log at hand or not."""
        return self.search is not None or self.origin.startswith("tuned: ")

    @property
    def comparable(self) -> bool:
        """Whether it is scored as published methods are; see `Entrant.compares_with_published`."""
        return self.stored_as_published if self.entrant is None else self.entrant.compares_with_published

    @property
    def stands_for_seeds(self) -> bool:
        """Whether its one run stands for several seeds, none of which would change it."""
        return self.entrant is not None and 0 < len(self.runs) < len(self.entrant.request.seeds)

    @property
    def features(self) -> str:
        """The features its runs are given; empty where there are none."""
        return self.spec.features if self.spec else ""

    @property
    def settings(self) -> str:
        """What is not at its default, as printed: `@preset key=value`."""
        if self.records and self.records[0].external:
            return "(scores made elsewhere)"
        shots = shots_words(self.spec.shots) if self.spec else []
        return " ".join([*words(self.preset, self.given), *shots, *filter(None, [self.distinction])])


def _pairs(given: Mapping[str, Any]) -> str:
    return f":{','.join(words('', given))}" if given else ""
