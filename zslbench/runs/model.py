"""TrainedModel: the kept model of a run, for use on any images and any described classes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from zslbench.api.embedder import Embedder
from zslbench.api.params import Params
from zslbench.api.views import ClassSet
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, NotApplicable, PluginError, UsageError, near_misses
from zslbench.records.record import RunRecord
from zslbench.runs.code import method_code
from zslbench.runs.kept import Kept, restored
from zslbench.runs.member import members_of, states
from zslbench.runs.resolve import method_class
from zslbench.training.device import choose_device, seeded

Which = Literal["all", "seen", "unseen"]
Classes = Which | ClassSet
UNIT = 1e-4
"""A class embedding counts as normalised if its norm differs from 1 by less than this."""
OUTSIDE = 0.05
"""Part of the range of the run's classes by which a new class may leave it without a word."""
AT_ONCE = 4096
"""How many images are scored at a time."""


class TrainedModel:
    """The final model of a run. It needs no training data and draws no random number.

    Attributes:
        record: the record of the run.
        classes: the classes of the run, seen first, with class embeddings as the data set has them.
        features: how many values an image has.
        params: hyper-parameters.
        device: where it computes.
        attributes: names of the dimensions of class embeddings; empty if unknown.
        gamma: chosen on validation classes, and subtracted from scores of seen classes; None if none was chosen.
    """

    def __init__(self, record: RunRecord, kept: Kept, where: object, device: str = "auto") -> None:
        """Makes the model from a kept file; `where` is the file's place, for messages.

        Raises:
            UsageError, PluginError: the method is not installed, or has another version.
            DataError: the method's code changed and now builds another network.
        """
        self.record, self.classes, self.attributes = record, kept.classes, kept.attributes
        self.gamma = record.metrics.get("gamma")
        self.features, self.device = kept.shape.features, choose_device(device)
        method, self._kept = _installed(record), kept
        self.params = method.params_type.parse(record.params, f"run {record.id}")
        _check_members(record, self.params)
        try:
            self._embedder = restored(lambda: method(self.params), kept).to(self.device)
        except ValueError as error:
            raise DataError(
                f"{where}: method {record.spec.method!r} changed since ({error}); run it again with --existing rerun"
            ) from error

    def __repr__(self) -> str:
        spec, shape = self.record.spec, self._kept.shape
        sizes = f"{shape.features} features, {len(self.classes)} classes"
        return f"TrainedModel({spec.method} on {spec.dataset}, seed {spec.seed}: {sizes})"

    def embed(self, x: ArrayLike) -> NDArray[np.float32]:
        """Returns the embeddings of images in the space of class embeddings, `(N, A)`.

        Args:
            x: features `(N, D)` as the data set has them; with K crops, `(N, K, D)`, their mean is returned.

        Raises:
            DataError: the number of columns differs from the training features, or values are not finite.
            NotApplicable: the method has no embedding of images.
        """
        if type(self._embedder).embed is Embedder.embed:
            raise NotApplicable(f"{self.record.spec.method} has no embedding of images")
        with self._alone():
            return np.concatenate([self._mean(x, self._embedder.embed) for x in self._chunks(x)])

    def scores(self, x: ArrayLike, classes: Classes = "all") -> NDArray[np.float32]:
        """Returns the score of each image and class, `(N, C)`, uncalibrated.

        Args:
            x: features `(N, D)`; with K crops, `(N, K, D)`, scores are means over the crops.
            classes: those of the run, or others that `described` returns.

        Raises:
            DataError: the number of columns of features or class embeddings differs from training.
            NotApplicable: the method cannot choose among such classes.
        """
        chosen = self._kept.semantics(self.chosen(classes)).to(self.device)
        with self._alone():
            return np.concatenate(
                [self._mean(part, lambda rows: self._embedder.scores(rows, chosen)) for part in self._chunks(x)]
            )

    def predict(
        self, x: ArrayLike, classes: Classes = "all", *, top: int = 1, gamma: float | Literal["auto"] = "auto"
    ) -> pd.DataFrame:
        """Returns the best classes of each image, a row for each.

        Args:
            x: features, as for `scores`.
            classes: those of the run, or others.
            top: how many classes to return.
            gamma: subtracted from the scores of seen classes where unseen ones compete; `auto` is the run's own.

        Returns:
            `class`, `score`, `margin` over the next class, and `side`: seen, unseen, or new if the run knew no such
            class; then `class_2`, `score_2` and so on.
        """
        chosen = self.chosen(classes)
        scores = self.scores(x, chosen) - self.shift(chosen, gamma) * chosen.seen.numpy().astype(np.float32)
        order = np.argsort(-scores, axis=1, kind="stable")
        ranked = np.take_along_axis(scores, order, axis=1)
        names, sides = np.array(chosen.names, dtype=object), np.array(self.sides(chosen), dtype=object)
        second = ranked[:, 1] if len(chosen) > 1 else np.full(len(ranked), -np.inf)
        columns = {"class": names[order[:, 0]], "score": ranked[:, 0], "margin": ranked[:, 0] - second}
        columns["side"] = sides[order[:, 0]]
        for place in range(1, min(top, len(chosen))):
            columns |= {f"class_{place + 1}": names[order[:, place]], f"score_{place + 1}": ranked[:, place]}
        return pd.DataFrame(columns)

    def contributions(self, x: ArrayLike, classes: Classes = "all") -> NDArray[np.float32]:
        """Returns how much each dimension of the class embeddings adds to each score, `s_a E(x)_a`, `(N, C, A)`.

        Where scores are cosines, both vectors have unit length.

        Raises:
            NotApplicable: the method's scores are neither `s . E(x)` nor their cosine.
        """
        semantics, embedded = self._kept.semantics(self.chosen(classes)).semantics.numpy(), self.embed(x)
        scores = self.scores(x, classes)
        for s, e in [(semantics, embedded), (_unit(semantics), _unit(embedded))]:
            added: NDArray[np.float32] = e[:, None] * s[None]
            if np.allclose(added.sum(axis=2), scores, rtol=1e-3, atol=1e-4):
                return added
        raise NotApplicable(f"the scores of {self.record.spec.method} are no sum over attributes")

    def chosen(self, classes: Classes) -> ClassSet:
        """Returns the requested classes."""
        if isinstance(classes, ClassSet):
            if (width := classes.semantics.shape[1]) != (own := self.classes.semantics.shape[1]):
                raise DataError(f"the class embeddings have {width} values; those of the run have {own}")
            return classes
        sets = {"all": self.classes, "seen": self.classes.seen_only, "unseen": self.classes.unseen_only}
        if classes not in sets:
            raise UsageError(f"classes={classes!r}: give all, seen, unseen, or classes that `described` returned")
        return sets[classes]

    def described(self, names: Sequence[str], embeddings: ArrayLike) -> ClassSet:
        """Returns classes by their embeddings, normalised like those of the run. The classes may be new to the run.

        A class with the name of a seen class counts as seen. Warns of values outside the range of the run's classes.

        Args:
            names: of the classes.
            embeddings: `(C, A)`, columns as in training.

        Raises:
            DataError: sizes do not fit, a name occurs twice, or an embedding is zero or not finite.
        """
        rows, own = np.asarray(embeddings, dtype=np.float64), self.classes.semantics.numpy()
        if rows.ndim != 2 or len(rows) != len(names) or not len(rows):
            raise DataError(f"the embeddings of {len(names)} classes have shape {rows.shape}")
        if rows.shape[1] != own.shape[1]:
            raise DataError(f"the class embeddings have {rows.shape[1]} values; those of the run have {own.shape[1]}")
        if len(set(names)) < len(names):
            raise DataError(f"class {next(n for n in names if list(names).count(n) > 1)!r} is there twice")
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if bad := [name for name, norm in zip(names, norms[:, 0], strict=True) if not (np.isfinite(norm) and norm > 0)]:
            raise DataError(f"the embedding of class {bad[0]!r} is zero or not finite")
        if np.abs(np.linalg.norm(own, axis=1) - 1).max() < UNIT:
            rows = rows / norms
        low, high = own.min(axis=0), own.max(axis=0)
        slack = OUTSIDE * (high - low) + 1e-5 * np.maximum(np.abs(low), np.abs(high))
        outside = (rows < low - slack) | (rows > high + slack)
        if outside.any():
            c, a = np.argwhere(outside)[0]
            column = repr(self.attributes[a]) if self.attributes else a + 1
            warnings.warn(
                f"{int(outside.sum())} of {rows.size} values lie outside the range of the run's classes: class "
                f"{names[c]!r}, column {column} is {rows[c, a]:.3g}, and theirs are {low[a]:.3g} to {high[a]:.3g}",
                stacklevel=2,
            )
        known = dict(zip(self.classes.names, self.classes.seen.tolist(), strict=True))
        seen = torch.tensor([known.get(name, False) for name in names])
        return ClassSet(torch.from_numpy(rows.astype(np.float32)), tuple(names), seen)

    def sides(self, classes: ClassSet) -> list[str]:
        """Returns for each class whether it is seen, unseen, or new."""
        known = set(self.classes.names)
        pairs = zip(classes.names, classes.seen.tolist(), strict=True)
        return ["seen" if seen else "unseen" if name in known else "new" for name, seen in pairs]

    def shift(self, classes: ClassSet, gamma: float | Literal["auto"]) -> float:
        """Returns what is subtracted from scores of seen classes: 0 if all classes are seen or none is."""
        if not 0 < int(classes.seen.sum()) < len(classes):
            return 0.0
        return (self.gamma or 0.0) if gamma == "auto" else float(gamma)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Computes as runs do, with one thread, without gradients."""
        with seeded(0, self.device), torch.no_grad():
            yield

    def _chunks(self, x: ArrayLike) -> Iterator[torch.Tensor]:
        features, wanted = np.asarray(x), self._kept.shape.features
        if features.ndim not in (2, 3) or features.shape[-1] != wanted:
            raise DataError(f"the features have shape {features.shape}; the run was trained on {wanted} columns")
        for start in range(0, max(1, len(features)), AT_ONCE):
            part = np.array(features[start : start + AT_ONCE], dtype=np.float32)
            if not np.isfinite(part).all():
                row = start + int(np.flatnonzero(~np.isfinite(part).all(axis=tuple(range(1, part.ndim))))[0])
                raise DataError(f"the features of image {row + 1} are not finite")
            yield torch.from_numpy(part)

    def _mean(self, x: torch.Tensor, ask: Any) -> NDArray[np.float32]:
        """Returns the model's answer for scaled features, as a mean over crops if there are any."""
        rows = self._kept.scale(x.flatten(0, -2)).to(self.device)
        answers: torch.Tensor = ask(rows).float().cpu()
        found: NDArray[np.float32] = (answers if x.ndim == 2 else answers.view(*x.shape[:-1], -1).mean(dim=1)).numpy()
        return found


def _installed(record: RunRecord) -> type[Embedder[Any]]:
    """Returns the class of a record's method; warns if its code differs."""
    spec, plugin = record.spec, record.provenance.get("method_plugin", "")
    if spec.method not in registry().names("method"):
        hint = f"install {plugin}" if plugin else near_misses(spec.method, registry().names("method"))
        raise PluginError(f"run {record.id} is of method {spec.method!r}, which is not installed; {hint}")
    method = method_class(spec.method)
    if method.version != spec.method_version:
        raise UsageError(
            f"run {record.id} is of version {spec.method_version} of {spec.method}, and version {method.version} is "
            "installed; run it again"
        )
    kept = {spec.method: record.provenance.get("method_code", ""), **record.provenance.get("member_code", {})}
    for name, code in kept.items():
        if code and code != method_code(method_class(name)):
            warnings.warn(f"run {record.id} was made by another state of {name}'s code", stacklevel=4)
    return method


def _check_members(record: RunRecord, params: Params) -> None:
    """Raises UsageError where a method that is part of the model has another version, or as a file another content."""
    for name, state in states(members_of(params).values()).items():
        if state != (then := record.spec.members.get(name)):
            raise UsageError(
                f"run {record.id} has a member of version {then} of {name}, and version {state} is installed; "
                "run it again"
            )


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns each row divided by its length; a row of zeros stays one."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, np.finfo(np.float32).tiny), dtype=np.float32)
