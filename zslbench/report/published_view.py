"""Published numbers as `zslbench published` shows them, and whether a printed H can be right: in exact numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any

from zslbench.report.published import Number
from zslbench.report.table import Table, table_of

SHOWN = ("U->U", "U->T", "S->T", "H", "AUSUC")
"""Columns of the table; other metrics have one of their own."""
ABOUT = ["method", "data set", "split"]
MARK = "!"


@dataclass(frozen=True)
class Group:
    """What one source prints of a method on a split of a data set, by metric."""

    method: str
    dataset: str
    split: str
    source: str
    values: dict[str, Decimal]

    @property
    def about(self) -> list[str]:
        """The cells that name it, without the source."""
        return [self.method, self.dataset, self.split]

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
        about = n.method, n.dataset, n.split, n.source
        groups.setdefault(about, Group(*about, {})).values[n.metric] = n.value
    return list(groups.values())


def as_json(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """Returns the groups as `--json` prints them; values as printed, the range of H and how far H is beyond it."""
    return [
        {
            **{name: getattr(group, name) for name in ("method", "dataset", "split", "source")},
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
