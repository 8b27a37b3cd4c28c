"""Continuous power-law fit by maximum likelihood on positive real numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .fit import MIN_TAIL, candidate_minima
from .ks import closest_law


@dataclass(frozen=True)
class ContinuousPowerLawFit:
    """Density proportional to x**-alpha for real x >= xmin.

    Attributes
    ----------
    alpha, alpha_se : float
        Exponent and its standard error, (alpha - 1) / sqrt(n_tail) (CSN eq. 3.2).
    xmin : float
        Smallest value that follows the law.
    ks_distance : float
        Kolmogorov-Smirnov distance D of the tail from the law.
    n_tail : int
        Values >= xmin.
    log_likelihood : float
        Of the tail, in nats.
    """

    alpha: float
    alpha_se: float
    xmin: float
    ks_distance: float
    n_tail: int
    log_likelihood: float

    def survival(self, x: float | np.ndarray) -> np.ndarray:
        """Return P(X >= x | X >= xmin); float64, the shape of `x`."""
        return (np.maximum(np.asarray(x, float), self.xmin) / self.xmin) ** (1 - self.alpha)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ContinuousPowerLawFit:
        """Inverse of `to_dict`."""
        return cls(**data)


def fit_continuous(
    values: np.ndarray,
    xmin: float | None = None,
    max_candidates: int = 10_000,
    min_tail: int = MIN_TAIL,
) -> ContinuousPowerLawFit | None:
    """Fit a continuous power law to positive real numbers, such as prices or dwell times.

    Maximum likelihood (Clauset, Shalizi & Newman 2009, eq. 3.1) for all candidate xmin together;
    xmin minimises the Kolmogorov-Smirnov distance in the convention of
    `fit_discrete`. Counts need `fit_discrete`: on whole numbers this formula is far off.

    Parameters
    ----------
    values : array, shape (N,)
        Positive and finite, in any order.
    xmin : float, optional
        Fix xmin instead of searching for it; it need not be an observed value.
    max_candidates : int
        Above so many distinct values the candidates for xmin are spaced geometrically.
    min_tail : int
        A candidate needs so many values at or above it.

    Returns
    -------
    ContinuousPowerLawFit or None
        None when no candidate has `min_tail` values above it and two distinct ones.

    Raises
    ------
    ValueError
        If a value is not positive and finite, or xmin is not positive.
    """
    values = np.asarray(values, float).ravel()
    if not np.all((values > 0) & np.isfinite(values)) or (xmin is not None and not xmin > 0):
        raise ValueError("fit_continuous needs positive, finite values and xmin > 0")
    distinct, counts = np.unique(values, return_counts=True)
    logs = np.log(distinct)
    tail_values = np.cumsum(counts[::-1])[::-1]
    tail_logs = np.cumsum((counts * logs)[::-1])[::-1]
    minima = candidate_minima(distinct, tail_values, max_candidates, min_tail)
    if xmin is not None:
        minima = np.array([xmin], float)
    first = np.searchsorted(distinct, minima)
    usable = first < len(distinct) - 1
    usable[usable] = tail_values[first[usable]] >= min_tail
    minima, first = minima[usable], first[usable]
    if not len(minima):
        return None
    log_minima = np.log(minima)
    n_tail = tail_values[first]
    excess = tail_logs[first] / n_tail - log_minima
    told = excess > 0  # round-off may leave no spread to fit
    if not told.any():
        return None
    minima, first, log_minima, n_tail = (x[told] for x in (minima, first, log_minima, n_tail))
    alphas = 1 + 1 / excess[told]
    best, distance = closest_law(
        tail_values,
        first,
        lambda k, j: np.exp((1 - alphas[k]) * np.maximum(logs[j] - log_minima[k], 0.0)),
    )
    alpha, n = float(alphas[best]), int(n_tail[best])
    return ContinuousPowerLawFit(
        alpha=alpha,
        alpha_se=(alpha - 1) / np.sqrt(n),
        xmin=float(minima[best]),
        ks_distance=distance,
        n_tail=n,
        # the mean excess of ln x over ln xmin is 1 / (alpha - 1)
        log_likelihood=float(n * (np.log((alpha - 1) / minima[best]) - alpha / (alpha - 1))),
    )
