"""Predictions: a kept model's answers for many images, written one by one, so that a killed command can continue."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from zslbench.api.views import ClassSet
from zslbench.errors import UsageError
from zslbench.files import reading, writing
from zslbench.runs.inputs import Block, Source
from zslbench.runs.model import TrainedModel

IMAGE, UNREADABLE, SETTINGS = "image", "unreadable", "settings"


@dataclass(frozen=True)
class Question:
    """What a model is asked about each image.

    Attributes:
        model: whose answers these are.
        classes: to choose from.
        top: how many classes to tell.
        gamma: is subtracted from scores of seen classes; `auto` is the run's own.
    """

    model: TrainedModel
    classes: ClassSet
    top: int = 1
    gamma: float | Literal["auto"] = "auto"

    @property
    def settings(self) -> str:
        """A hash of all that decides an answer."""
        shift, classes = self.model.shift(self.classes, self.gamma), self.classes
        said = json.dumps([self.model.record.id, self.model.record.model, self.top, shift, classes.names])
        content = classes.semantics.numpy().tobytes() + classes.seen.numpy().tobytes()
        return hashlib.sha256(said.encode() + content).hexdigest()[:8]

    @property
    def columns(self) -> list[str]:
        """The columns of the answers."""
        further = [f"{what}_{n}" for n in range(2, min(self.top, len(self.classes)) + 1) for what in ("class", "score")]
        return [IMAGE, "class", "score", "margin", "side", *further, UNREADABLE]

    def answer(self, block: Block) -> pd.DataFrame:
        """Returns a row for each image of a block, unreadable ones last."""
        lines: list[dict[str, Any]] = [{IMAGE: name, UNREADABLE: why} for name, why in block.unreadable.items()]
        bad = pd.DataFrame(lines, columns=self.columns)
        if not block.names:
            return bad
        found = self.model.predict(block.x, self.classes, top=self.top, gamma=self.gamma)
        found.insert(0, IMAGE, block.names)
        found[UNREADABLE] = ""
        return pd.concat([found, bad], ignore_index=True) if lines else found


class PredictionFile:
    """A CSV file of answers that grows block by block.

    Attributes:
        done: the images that it has already.
    """

    def __init__(self, path: Path, question: Question) -> None:
        """Reads what an earlier command wrote; a line that it did not finish is cut off.

        Raises:
            UsageError: it holds something else, or answers to another question.
            NotWritten: it cannot be written.
        """
        self.path, self.settings = path, question.settings
        self._head = [*question.columns, SETTINGS]
        self.done: set[str] = set()
        content = self._read()
        if not content:
            self._append(self._lines([self._head]))
            return
        rows = list(csv.reader(io.StringIO(content)))
        if rows[0] != self._head:
            raise UsageError(f"--csv {path}: it is there already and holds something else; name another file")
        if any(row[-1] != self.settings for row in rows[1:]):
            raise UsageError(
                f"--csv {path}: it holds answers of another model, or among other classes; name another file"
            )
        self.done = {row[0] for row in rows[1:]}

    def add(self, answers: pd.DataFrame) -> None:
        """Writes answers; they are on the disk when this returns."""
        values = answers.astype(object).where(answers.notna(), "").itertuples(index=False)
        self._append(self._lines([*row, self.settings] for row in values))
        self.done |= set(answers[IMAGE])

    def _read(self) -> str:
        if not self.path.exists():
            return ""
        with reading(self.path, "CSV", "name another file"):
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            text = whole.decode("utf-8")
        if whole != content:
            with writing(self.path):
                os.truncate(self.path, len(whole))
        return text

    def _append(self, text: str) -> None:
        with writing(self.path), self.path.open("ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _lines(rows: Iterable[Iterable[Any]]) -> str:
        """Returns CSV in which each row is one line, whatever the names of files."""
        text = io.StringIO()
        clean = ([str(cell).replace("\n", " ") for cell in row] for row in rows)
        csv.writer(text, lineterminator="\n").writerows(clean)
        return text.getvalue()


def answered(
    question: Question, source: Source, file: PredictionFile | None, progress: Callable[[int], None]
) -> pd.DataFrame:
    """Returns the answers about a source; with a file they are written, and only images, classes and reasons returned.

    What the file has already is not asked again.
    """
    parts, done = [], 0
    for block in source.blocks(file.done if file else ()):
        answers = question.answer(block)
        if file is not None:
            file.add(answers)
            answers = answers[[IMAGE, "class", UNREADABLE]]
        parts.append(answers)
        done += len(answers)
        progress(done)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=question.columns)
