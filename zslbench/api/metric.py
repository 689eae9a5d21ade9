"""A metric: its name, and how tables show it; a module of its own, because lists of runs import nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number that an evaluator reports.

    Attributes:
        name: in code, JSON and CSV.
        title: heading of its column.
        percent: whether it is a fraction, which tables show in percent.
        higher_is_better: whether the highest value is the best.
        shown: whether tables have a column for it unless `--metrics` says otherwise.
        ranks: whether rows are tested in it where a table has it, rather than in the first metric that can be tested.
        note: what a reader of the column must know, without a full stop.
    """

    name: str
    title: str
    percent: bool = True
    higher_is_better: bool = True
    shown: bool = True
    ranks: bool = False
    note: str = ""

    def text(self, value: float, sign: str = "") -> str:
        """Returns a value as it is printed: percent with one decimal, others with four; `sign` "+" for differences."""
        return f"{100 * value:{sign}.1f}" if self.percent else f"{value:{sign}.4f}"
