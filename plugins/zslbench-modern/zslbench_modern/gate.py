"""A gate above two experts: adaptive confidence smoothing, COSMO (Atzmon and Chechik, CVPR 2019)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, log_softmax, logsigmoid

from zslbench import ClassSet, Embedder, Member, Params, ProblemShape, TrainView, param

LOGISTIC = "logistic"
"""The seen expert that is no method of its own, because it knows no class without images."""

TELLING = 1e-3
"""Probabilities that spread less than this over images tell the gate nothing, and are not blown up."""


class GateParams(Params):
    """The two experts, and how the gate above them is trained."""

    unseen: str = param("eszsl", "expert of unseen classes: a method, NAME or NAME:KEY=VALUE:KEY=VALUE", method=True)
    seen: str = param(
        LOGISTIC, "expert of seen classes: logistic (regression on them alone), or a method", method=[LOGISTIC]
    )
    strength: float = param(
        0.01,
        "C of the logistic seen expert: weight of the images against |W|^2 / 2",
        search=(1e-4, 1.0),
        log=True,
        gt=0,
    )
    top: int = param(5, "how many of each expert's probabilities the gate sees, the highest first, K", ge=1)
    temperature: float = param(
        3.0, "of the seen expert's probabilities as the gate sees them, T", search=[1.0, 3.0, 10.0], gt=0
    )
    smoothing: bool = param(True, "mix each expert with the uniform distribution where the gate calls it out of place")
    held_out: float = param(0.25, "share of the seen classes that play unseen ones to train the gate", gt=0, lt=1)


class Gate(Embedder[GateParams]):
    """p(y) = p(U) p(y | U) + p(S) p(y | S), the law of total probability; scores are log p(y).

    The gate p(U) is a logistic regression on the `top` highest probabilities of either expert, standardised, because
    those of an expert that is sure of most images differ little. It is trained on images that the experts never saw:
    these are trained twice, first without some of the classes, which then play unseen ones, and without some images of
    the others; then on everything. Images of both sides weigh the same, so that the gate starts from even odds.

    The experts' scores become probabilities by softmax. Its inverse temperature, one for each expert, is fitted to
    held-out images of its own side by maximum likelihood, because scores of any method may come.

    Adaptive smoothing: p(y | U) becomes p(U) p(y | U) + p(S) / |U|, and p(y | S) becomes p(S) p(y | S) + p(U) / |S|.
    That is the paper's p(y, U) + lambda / |U| for lambda = 1 - p(U), with p(y, U) = p(U) p(y | U) by the gate, so that
    it is a distribution.
    """

    gate_weight: Tensor
    gate_bias: Tensor
    inverse_temperatures: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates the experts, and room for the gate."""
        self.unseen, self.seen = self._experts()
        self.unseen.build(shape)
        self.seen.build(shape)
        self.register_buffer("gate_weight", torch.zeros(2 * self.params.top))
        self.register_buffer("gate_bias", torch.zeros(()))
        self.register_buffer("inverse_temperatures", torch.ones(2))

    def solve(self, view: TrainView) -> None:
        """Trains the experts on a part, the gate on the rest, and then the experts on everything."""
        cut = view.cut(self.params.held_out)
        unseen, seen = self._experts()
        unseen.fit(cut.train)
        seen.fit(cut.train)
        with torch.no_grad():
            x = cut.x.to(view.device)
            sides = (unseen.scores(x, cut.classes.unseen_only), seen.scores(x, cut.classes.seen_only))
            stay = int(cut.classes.seen.sum())
            is_unseen = cut.y >= stay
            own = (cut.y[is_unseen] - stay, cut.y[~is_unseen])
            fitted = [sharpness(sides[0][is_unseen], own[0]), sharpness(sides[1][~is_unseen], own[1])]
            self.inverse_temperatures.copy_(torch.tensor(fitted))
            self._fit_gate(self._confidences(*sides), is_unseen)
        self.unseen.fit(view)
        self.seen.fit(view)

    def finish(self, view: TrainView) -> None:
        """Finishes the experts."""
        self.unseen.finish(view)
        self.seen.finish(view)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns log p(y) of each class, `(B, C)`; where only one side can be chosen, its expert's alone.

        Raises:
            NotApplicable: an expert cannot choose among the classes of its side.
        """
        is_seen = classes.seen
        sides = [
            expert.scores(x, own) if len(own) else x.new_zeros(len(x), 0)
            for expert, own in ((self.unseen, classes.unseen_only), (self.seen, classes.seen_only))
        ]
        logs = [log_softmax(self.inverse_temperatures[i] * side, dim=1) for i, side in enumerate(sides)]
        if 0 < int(is_seen.sum()) < len(classes):
            logs = self._mixed(logs, self._confidences(*sides) @ self.gate_weight + self.gate_bias)
        result = x.new_empty(len(x), len(classes))
        result[:, ~is_seen], result[:, is_seen] = logs
        return result

    def _mixed(self, logs: list[Tensor], odds: Tensor) -> list[Tensor]:
        """Returns log p(y) for each side, from log p(y | side), `(B, C)`, and the log odds of U, `(B,)`."""
        mixed = []
        for log, sign in zip(logs, (1, -1), strict=True):
            inside, outside = logsigmoid(sign * odds)[:, None], logsigmoid(-sign * odds)[:, None]
            if self.params.smoothing:
                log = torch.logaddexp(inside + log, outside - math.log(log.shape[1]))
            mixed.append(inside + log)
        return mixed

    def _confidences(self, unseen: Tensor, seen: Tensor) -> Tensor:
        """Returns what the gate sees of each image, `(B, 2K)`, from the scores of either expert, `(B, C)`."""
        sharp, softer = self.inverse_temperatures[0], self.inverse_temperatures[1] / self.params.temperature
        return torch.cat([highest(unseen, sharp, self.params.top), highest(seen, softer, self.params.top)], dim=1)

    def _fit_gate(self, confidences: Tensor, is_unseen: Tensor) -> None:
        confidences = confidences.double()
        mean, spread = confidences.mean(dim=0), confidences.std(dim=0, correction=0)
        unit = torch.where(spread > TELLING, spread, 1.0)
        gate = fitted((confidences - mean) / unit, is_unseen, C=1.0, class_weight="balanced")
        weight = torch.from_numpy(gate.coef_[0]).to(unit.device) / unit
        self.gate_weight.copy_(weight)
        self.gate_bias.copy_(gate.intercept_[0] - weight @ mean)

    def _experts(self) -> tuple[Member, Member | SeenClassifier]:
        own = self.params.seen
        seen = SeenClassifier(self.params.strength) if own == LOGISTIC else Member(own)
        return Member(self.params.unseen), seen


class SeenClassifier(nn.Module):
    """Multinomial logistic regression on the seen classes, the paper's seen expert.

    Features are centred and divided by one number, so that their mean squared norm is that of unit variances.
    """

    W: Tensor
    b: Tensor

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def build(self, shape: ProblemShape) -> None:
        """Creates W: `(S, D)` and b: `(S,)`."""
        own = shape.seen_only
        self.rows = {name: row for row, name in enumerate(own.names)}
        self.register_buffer("W", torch.zeros(own.classes, own.features))
        self.register_buffer("b", torch.zeros(own.classes))

    def fit(self, view: TrainView) -> None:
        """Fits W and b, in float64, by scikit-learn."""
        if not hasattr(self, "rows"):
            self.build(view.shape)
        x = view.x.double()
        mean = x.mean(dim=0)
        spread = float((x - mean).square().mean().sqrt())
        divisor = spread if spread > 0 else 1.0
        model = fitted((x - mean) / divisor, view.y, C=self.strength)
        W, b = model.coef_ / divisor, model.intercept_
        if len(W) == 1:  # of two classes scikit-learn has one row
            W, b = np.concatenate([-W / 2, W / 2]), np.concatenate([-b / 2, b / 2])
        self.W = torch.from_numpy(W).float().to(view.device)
        self.b = torch.from_numpy(b - W @ mean.cpu().numpy()).float().to(view.device)

    def finish(self, view: TrainView) -> None:
        """Has nothing to finish."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns logits of seen classes, `(B, D)` to `(B, C)`."""
        rows = [self.rows[name] for name in classes.names]
        return x @ self.W[rows].T + self.b[rows]


def fitted(x: Tensor, y: Tensor, **options: Any) -> LogisticRegression:
    """Returns scikit-learn's logistic regression of rows `(N, D)`, in float64, and with one thread as all training."""
    with threadpool_limits(1):
        return LogisticRegression(max_iter=1000, **options).fit(x.double().cpu().numpy(), y.cpu().numpy())


def highest(scores: Tensor, inverse_temperature: Tensor, top: int) -> Tensor:
    """Returns the `top` highest probabilities of each row, in descending order; 0 where there are fewer classes."""
    probabilities = (inverse_temperature * scores).softmax(dim=1)
    found = probabilities.topk(min(top, scores.shape[1]), dim=1).values
    return nn.functional.pad(found, (0, top - found.shape[1]))


def sharpness(scores: Tensor, y: Tensor) -> float:
    """Returns the inverse temperature b that minimises the cross-entropy of softmax(b scores).

    It is convex in b, which is looked for from 0.1 to 100 over the scores' standard deviation: the scores of an expert
    that is no better than chance on a few held-out classes are not made all alike, as the gate may still read them.
    Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks. ICML 2017.
    """
    scores = scores.double()
    spread = float(scores.std(dim=1, correction=0).mean())
    unit = 1 / spread if spread > 0 else 1.0

    def loss(b: float) -> float:
        return float(cross_entropy(b * unit * scores, y))

    found = minimize_scalar(loss, bounds=(0.1, 100.0), method="bounded", options={"xatol": 1e-4})
    return float(found.x) * unit
