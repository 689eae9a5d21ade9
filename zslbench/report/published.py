"""Published numbers: read from the plugins' files, placed beside measured ones, shown as printed, and checked."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from math import ceil, floor
from pathlib import Path
from typing import Any, NamedTuple

from zslbench.data.tables import read_rows
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.errors import DataError, PluginError, near_misses
from zslbench.report.table import Table, table_of

COLUMNS = ("method", "dataset", "split", "setting", "metric", "value", "source")
OPTIONAL = ("backbone", "fine_tuned")
"""Columns that a file may leave out; then it is not stated what the numbers were made on."""
FEATURES, BACKBONE = "res101", "ResNet-101"
"""The features of the GBU protocol, and what published numbers call their network; others are not comparable."""
TUNING = {"no": "", "seen classes": " fine-tuned on seen classes", "unknown": ", fine-tuning unknown", "": ""}
"""What a backbone's name is followed by, for each value of the column `fine_tuned`."""


class Kind(NamedTuple):
    """The setting of a metric, its largest value (None: any), our own metric, and the input whose numbers compare."""

    setting: str
    largest: int | None
    ours: str = ""
    features: str = FEATURES


METRICS = {
    "U->U": Kind("ZSL", 100, "acc_uu"),
    "U->T": Kind("GZSL", 100, "acc_ut"),
    "S->T": Kind("GZSL", 100, "acc_st"),
    "H": Kind("GZSL", 100, "h"),
    "AUSUC": Kind("GZSL", 1, "ausuc"),
    "AUSUC flat-hit@1": Kind("GZSL", 1),
    "pixel MSE unseen test": Kind("reconstruction", None, "mse_unseen", "images"),
}
"""Every metric that a file may hold: accuracies in percent, areas as fractions, as papers print them."""

_SPLIT = re.compile(r"PS|SS|[A-Z][A-Za-z-]*[0-9]{4}")
"""Proposed split, standard split, or a paper's own."""
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")

Key = tuple[str, ...]


@dataclass(frozen=True)
class Number:
    """One number as printed, with the decimals it was printed with, and the line of the file that holds it."""

    method: str
    dataset: str
    split: str
    setting: str
    metric: str
    value: Decimal
    source: str
    where: str
    backbone: str = ""
    fine_tuned: str = ""

    @property
    def key(self) -> Key:
        """What a source prints once."""
        return self.method, self.dataset, self.split, self.setting, self.metric, self.source, *self.network

    @property
    def network(self) -> tuple[str, str]:
        """What its features come from."""
        return self.backbone, self.fine_tuned


@dataclass(frozen=True)
class Published:
    """What one source printed for a method on a data set; fractions in [0, 1] by metric name.

    `made_on` says what the features come from: `ResNet-101 fine-tuned on seen classes`.
    """

    source: str
    values: dict[str, float]
    made_on: str


def made_on(backbone: str, fine_tuned: str) -> str:
    """Returns in words what features of published numbers come from, by these two columns of their file."""
    return (backbone or "a backbone that is not stated") + TUNING[fine_tuned]


def printed_as(entry: Entry) -> str:
    """Returns how published numbers call a method or a data set."""
    return getattr(entry.card, "published_as", "") or entry.title


def published_table() -> list[Number]:
    """Returns all registered published numbers, in the order of the files.

    Raises:
        PluginError: a file cannot be read, or one of its lines is malformed; the line and what to do are named.
    """
    table: dict[Key, Number] = {}
    for path in registry().published_files:
        table |= _read(path, table)
    return list(table.values())


def usable_numbers() -> list[Number]:
    """Returns the published numbers of every sound file; a malformed one is left out whole, with a warning."""
    return _usable(tuple(registry().published_files))


def published_for(title: str, dataset: str, features: str, source: str = "") -> Published | None:
    """Returns one source's numbers for a method on the proposed split, by titles; None where none compares.

    Only sources whose name begins with `source` count, and numbers from the `features` of the run: of the backbone of
    these features, or of one that the source does not state. The first source wins whose backbone was not fine-tuned;
    without such a source, the first.
    """
    found: dict[tuple[str, ...], dict[str, float]] = {}
    for number in usable_numbers():
        kind = METRICS[number.metric]
        same = (number.method, number.dataset, number.split, kind.features) == (title, dataset, "PS", features)
        same = same and number.backbone in ("", BACKBONE)
        if same and kind.ours and number.source.startswith(source):
            own = found.setdefault((number.source, *number.network), {})
            own[kind.ours] = float(number.value / (kind.largest or 1))
    if not found:
        return None
    (name, *network), values = min(found.items(), key=lambda item: item[0][2] != "no")
    return Published(name, values, made_on(*network))


@cache  # a comparison asks once for each of its rows, and should warn once
def _usable(paths: tuple[Path, ...]) -> list[Number]:
    table: dict[Key, Number] = {}
    for path in paths:
        try:
            table |= _read(path, table)
        except PluginError as error:
            warnings.warn(f"no published number of this file is used: {error}", stacklevel=2)
    return list(table.values())


def _read(path: Path, others: Mapping[Key, Number]) -> dict[Key, Number]:
    """Returns one file's numbers; `others` are those of the files before it, which it may repeat but not contradict."""
    numbers: dict[Key, Number] = {}
    try:
        table = read_rows(path)
    except DataError as error:
        raise PluginError(f"{error}; write the file anew") from error
    head = _head(path, table.head)
    for line, fields in table.body.items():
        number = _number(f"{path}: line {line}", head, fields)
        known = numbers.get(number.key) or others.get(number.key)
        if known is not None and known.value != number.value:
            raise PluginError(
                f"{number.where}: {number.metric} of {number.method!r} on {number.dataset!r} is "
                f"{number.value:f} here and {known.value:f} at {known.where}, both from {number.source!r}; "
                "keep the one that is printed there"
            )
        numbers.setdefault(number.key, number)
    table.say()
    return numbers


def _head(path: Path, head: list[str]) -> list[str]:
    for column in (*COLUMNS, *(set(OPTIONAL) & set(head))):
        if head.count(column) != 1:
            problem = "is there twice" if column in head else "is missing"
            raise PluginError(f"{path}: the column {column!r} {problem}; the first line must be {','.join(COLUMNS)}")
    return head


def _number(where: str, head: list[str], fields: list[str]) -> Number:
    if len(fields) != len(head):
        raise PluginError(
            f"{where}: it has {len(fields)} fields and the first line {len(head)}; quote a field that holds a comma"
        )
    row = dict(zip(head, fields, strict=True))
    for column in COLUMNS:
        if not row[column]:
            raise PluginError(f"{where}: the {column} is empty; write what the source prints, or leave out the line")
    if not _SPLIT.fullmatch(row["split"]):
        raise PluginError(
            f"{where}: unknown split {row['split']!r}; write PS (proposed), SS (standard), or for a paper's own split "
            "its first author and year, such as Chao2016"
        )
    settings = {kind.setting for kind in METRICS.values()}
    for noun, known in (("setting", settings), ("metric", METRICS)):
        if row[noun] not in known:
            raise PluginError(f"{where}: unknown {noun} {row[noun]!r}{near_misses(row[noun], known)}")
    kind = METRICS[row["metric"]]
    if row["setting"] != kind.setting:
        raise PluginError(
            f"{where}: {row['metric']} is a number of the setting {kind.setting}, not {row['setting']}; correct one"
        )
    if not _NUMBER.fullmatch(row["value"]):
        raise PluginError(f"{where}: the value {row['value']!r} is not a number; write digits as printed, such as 59.2")
    value = Decimal(row["value"])
    if value < 0 or (kind.largest is not None and value > kind.largest):
        limits = "negative" if kind.largest is None else f"outside 0 to {kind.largest}"
        raise PluginError(
            f"{where}: {row['metric']} {row['value']} is {limits}; accuracies are in percent, areas are fractions"
        )
    fine_tuned = row.get("fine_tuned", "")
    if fine_tuned not in TUNING:
        raise PluginError(
            f"{where}: unknown fine_tuned {fine_tuned!r}{near_misses(fine_tuned, [name for name in TUNING if name])}"
        )
    texts = {column: row[column] for column in (*COLUMNS, *OPTIONAL) if column in row and column != "value"}
    return Number(**texts, value=value, where=where)


SHOWN = ("U->U", "U->T", "S->T", "H", "AUSUC")
"""Columns of the table; other metrics have one of their own."""
ABOUT = ["method", "data set", "split", "backbone"]
FLAGS = {"seen classes": " ft", "unknown": " ?"}
"""What follows a backbone in a table, for a value of the column `fine_tuned`."""
LEGEND = "ft: fine-tuned on seen classes; ?: whether it was is unknown; features of other backbones do not compare"
MARK = "!"


@dataclass(frozen=True)
class Group:
    """What one source prints of a method on a split of a data set, with one kind of features, by metric."""

    method: str
    dataset: str
    split: str
    source: str
    backbone: str
    fine_tuned: str
    values: dict[str, Decimal]

    @property
    def about(self) -> list[str]:
        """The cells that name it, without the source."""
        backbone = (self.backbone or "not stated") + FLAGS.get(self.fine_tuned, "")
        return [self.method, self.dataset, self.split, backbone]

    @property
    def made_on(self) -> str:
        """What its features come from, in words."""
        return made_on(self.backbone, self.fine_tuned)

    @property
    def implied_h(self) -> tuple[Decimal, Decimal] | None:
        """The range of H by U->T and S->T; None where one of the three is not printed."""
        if not {"U->T", "S->T", "H"} <= self.values.keys():
            return None
        return implied_h(self.values["U->T"], self.values["S->T"], decimals(self.values["H"]))

    @property
    def difference(self) -> Decimal:
        """How far the printed H is beyond that range; 0 where nothing contradicts it."""
        return beyond(self.values["H"], *self.implied_h) if self.implied_h else Decimal(0)


def groups_of(numbers: Iterable[Number]) -> list[Group]:
    """Returns the groups in the order of their first numbers."""
    groups: dict[tuple[str, ...], Group] = {}
    for n in numbers:
        about = n.method, n.dataset, n.split, n.source, *n.network
        groups.setdefault(about, Group(*about, {})).values[n.metric] = n.value
    return list(groups.values())


def as_json(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Returns the groups as `--json` prints them; values as printed, the range of H and how far H is beyond it."""
    return [
        {
            **{name: getattr(group, name) for name in (*COLUMNS[:3], "source", *OPTIONAL)},
            "values": {metric: float(value) for metric, value in group.values.items()},
            "implied_h": [float(end) for end in group.implied_h] if group.implied_h else None,
            "difference": float(group.difference),
        }
        for group in groups
    ]


def group_tables(groups: list[Group]) -> list[Table]:
    """Returns the numbers as printed, then other metrics; below them the sources, and how many H do not fit."""
    sources = _numbered(groups)
    main = [
        [*group.about, *(_cell(group, metric) for metric in SHOWN), sources[group.source]]
        for group in groups
        if group.values.keys() & set(SHOWN)
    ]
    rest = [
        [*group.about, metric, f"{value:f}", sources[group.source]]
        for group in groups
        for metric, value in group.values.items()
        if metric not in SHOWN
    ]
    title = "as printed: per-class top-1 in percent, AUSUC as a fraction"
    tables = [table_of([*ABOUT, *SHOWN, "source"], main, len(ABOUT), title)] if main else []
    tables += [table_of([*ABOUT, "metric", "value", "source"], rest, len(ABOUT) + 1)] if rest else []
    tables[-1].notes.extend(f"{mark} {name}" for name, mark in sources.items())
    if len({group.made_on for group in groups}) > 1:
        tables[-1].notes.append(LEGEND)
    if found := sum(bool(group.difference) for group in groups):
        tables[-1].notes.append(
            f"{MARK} {found} of {_checked(groups)} printed H cannot be 2US/(U+S) of the U->T and S->T beside them; "
            "`zslbench published --lint` shows them"
        )
    return tables


def lint_table(groups: list[Group]) -> Table:
    """Returns the groups whose H is not the harmonic mean of U->T and S->T, however these were rounded."""
    flagged = [group for group in groups if group.difference]
    sources = _numbered(flagged)
    lines = []
    for group in flagged:
        low, high = group.implied_h or (Decimal(0), Decimal(0))
        printed = [f"{group.values[metric]:f}" for metric in ("U->T", "S->T", "H")]
        lines.append([*group.about, *printed, f"{low:f} to {high:f}", f"{group.difference:+f}", sources[group.source]])
    table = table_of([*ABOUT, "U->T", "S->T", "H", "implied H", "difference", "source"], lines, len(ABOUT))
    table.notes.extend(f"{mark} {name}" for name, mark in sources.items())
    table.notes.append(
        f"{len(flagged)} of {_checked(groups)} printed H cannot be 2US/(U+S), however U->T and S->T were rounded"
        + ("; a misprint in one of the three, or a mean of H over runs" if flagged else "")
    )
    return table


def _numbered(groups: Iterable[Group]) -> dict[str, str]:
    names = sorted({group.source for group in groups}, key=str.casefold)
    return {name: f"[{i}]" for i, name in enumerate(names, start=1)}


def _cell(group: Group, metric: str) -> str:
    if metric not in group.values:
        return ""
    return f"{group.values[metric]:f}" + (MARK if metric == "H" and group.difference else "")


def _checked(groups: Iterable[Group]) -> int:
    return sum(group.implied_h is not None for group in groups)


HALF = Fraction(1, 2)


def implied_h(acc_ut: Decimal, acc_st: Decimal, places: int) -> tuple[Decimal, Decimal]:
    """Returns the smallest and the largest H, with `places` decimals, that can be printed beside U->T and S->T.

    A value printed as u with d decimals lies within u ± 10^-d / 2, and H = 2us / (u + s) grows with both: so H lies
    between its values at both lower and at both upper ends, and is itself rounded. Ends count as inside, because a half
    may have been rounded either way.
    """
    (ut_low, ut_high), (st_low, st_high) = _interval(acc_ut), _interval(acc_st)
    low = ceil(_harmonic(ut_low, st_low) * 10**places - HALF)
    high = floor(_harmonic(ut_high, st_high) * 10**places + HALF)
    return Decimal(f"{low}e-{places}"), Decimal(f"{high}e-{places}")


def beyond(value: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """Returns how far a value lies above (positive) or below (negative) a range; 0 inside."""
    return max(value - high, Decimal(0)) + min(value - low, Decimal(0))


def decimals(value: Decimal) -> int:
    """Returns with how many decimals a value is printed."""
    return max(-int(value.as_tuple().exponent), 0)


def _interval(printed: Decimal) -> tuple[Fraction, Fraction]:
    half = HALF / 10 ** decimals(printed)
    return max(Fraction(printed) - half, Fraction(0)), min(Fraction(printed) + half, Fraction(100))


def _harmonic(u: Fraction, s: Fraction) -> Fraction:
    return 2 * u * s / (u + s) if u + s else Fraction(0)
