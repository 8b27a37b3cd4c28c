"""Kolmogorov-Smirnov choice among candidate laws, without measuring most of them in full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FEW, _MANY = 24, 500  # points per candidate that bound its distance from below

# (candidates (k, 1), positions broadcastable) -> P(X >= value at position), by the candidate's law
Survival = Callable[[np.ndarray, np.ndarray], np.ndarray]


def closest_law(
    tail_values: np.ndarray, first: np.ndarray, survival: Survival
) -> tuple[int, float]:
    """Return the candidate with the smallest distance from the data, and that distance.

    The distance of a candidate is the largest difference between P(X >= v) of the data and of its
    law over the observed values v >= xmin. At a few of them it is bounded from below, and a
    candidate whose bound exceeds the best distance so far is never measured in full, so the
    result is exact.

    Parameters
    ----------
    tail_values : int array, shape (U,)
        How many data are at or above each observed value.
    first : int array, shape (K,)
        Position of the first observed value in the tail of each candidate.
    survival : callable
        Of candidates, int array (k, 1), and positions, int array (k, p) or (1, p).

    Returns
    -------
    index : int
        The first of the best candidates.
    distance : float
    """
    last = len(tail_values) - 1

    def probes(chosen: np.ndarray, number: int) -> np.ndarray:
        # the head holds most of the probability, so the probes are dense there
        steps = np.linspace(0, 1, number) * np.log1p(last - first[chosen])
        return first[chosen] + np.floor(np.expm1(steps) + 1e-9).astype(np.int64)

    def distances(chosen: np.ndarray, positions: np.ndarray) -> np.ndarray:
        observed = tail_values[positions] / tail_values[first[chosen]]
        return np.abs(observed - survival(chosen, positions)).max(axis=1)

    candidates = np.arange(len(first))[:, None]
    bounds = distances(candidates, probes(candidates, _FEW))
    best = (np.inf, 0)
    for index in np.argsort(bounds, kind="stable"):
        if bounds[index] > best[0]:
            break
        one = candidates[index : index + 1]
        if last - first[index] > 4 * _MANY and distances(one, probes(one, _MANY))[0] > best[0]:
            continue
        full = np.arange(first[index], last + 1)[None, :]
        best = min(best, (float(distances(one, full)[0]), int(index)))
    return best[1], best[0]
