"""Class embeddings as mixtures of others: ridge-penalised least squares on the probability simplex, solved exactly."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]
TOLERANCE = 1e-10
"""By how much of the largest curvature a gradient may break optimality."""


def mixtures(targets: Tensor, basis: Tensor, gamma: float) -> Tensor:
    """Returns for each row s of `targets` the argmin of gamma/2 |a|^2 + 1/2 |s - sum_y a_y basis_y|^2 on the simplex.

    Args:
        targets: `(C, A)`.
        basis: `(S, A)`.
        gamma: positive; the larger, the more of the basis is in a mixture.

    Returns:
        `(C, S)`, rows non-negative and of sum 1; each row depends on its own target only.
    """
    s, b = targets.double().cpu().numpy(), basis.double().cpu().numpy()
    H = b @ b.T + gamma * np.eye(len(b))
    return torch.from_numpy(np.stack([_minimise(H, b @ target) for target in s])).to(targets)


def _minimise(H: Array, linear: Array) -> Array:
    """Returns the argmin of a'Ha / 2 - linear'a on the simplex, by an active set as Lawson and Hanson (1974) do.

    The support grows by the entry that lowers the objective fastest; entries that the minimum on the support would make
    negative leave it. The objective falls at every step and few supports are small, so it ends soon, and exactly.
    """
    tolerance = TOLERANCE * np.abs(H).max()
    support = [int(np.argmin(H.diagonal() / 2 - linear))]
    a = np.zeros(len(linear))
    a[support] = 1.0
    for _ in range(10 * len(a)):  # rounding alone could make it longer
        gradient = H[:, support] @ a[support] - linear
        entering = int(np.argmin(gradient))
        if gradient[entering] >= a @ gradient - tolerance:
            break
        support.append(entering)
        while (goal := _stationary(H, linear, support)).min() < 0:
            here = a[support]
            room = np.where(goal < 0, here / np.maximum(here - goal, np.finfo(float).tiny), np.inf)
            here = here + room.min() * (goal - here)
            here[np.argmin(room)] = 0.0
            a[support] = here.clip(min=0)
            support = [y for y in support if a[y] > 0]
        a[support] = goal
    return a


def _stationary(H: Array, linear: Array, support: list[int]) -> Array:
    """Returns the argmin over the entries of the support with sum 1, whatever their signs."""
    n = len(support)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = H[np.ix_(support, support)]
    system[n, n] = 0.0
    solution: Array = np.linalg.solve(system, np.append(linear[support], 1.0))[:n]
    return solution
