"""Discrete power-law fit by exact maximum likelihood on a count histogram."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .histogram import CountHistogram
from .hurwitz import log_scaled_zeta, scaled_zeta
from .ks import closest_law

ALPHA_MIN, ALPHA_MAX = 1.0 + 1e-6, 100.0  # beyond 100 a tail is a cliff, not a power law
MIN_TAIL = 50  # Clauset, Shalizi & Newman 2009: fewer values cannot tell a law from another
MAX_KS = 0.1
MAX_CANDIDATES = 2_000


@dataclass(frozen=True)
class PowerLawFit:
    """P(X = x) proportional to x**-alpha for whole x >= xmin.

    Attributes
    ----------
    alpha, alpha_se : float
        Exponent and its standard error (CSN eq. 3.6).
    xmin : int
        Smallest count that follows the law.
    ks_distance : float
        Kolmogorov-Smirnov distance D of the tail from the law.
    n_tail : int
        Column values with count >= xmin.
    log_likelihood : float
        Of the tail, in nats.
    """

    alpha: float
    alpha_se: float
    xmin: int
    ks_distance: float
    n_tail: int
    log_likelihood: float

    def survival(self, x: float | np.ndarray) -> np.ndarray:
        """Return P(X >= x | X >= xmin) for whole x >= xmin; float64, the shape of `x`."""
        return _survival(self.alpha, self.xmin, np.maximum(np.asarray(x, float), self.xmin))

    def acceptable(self, max_ks: float = MAX_KS, min_tail: int = MIN_TAIL) -> bool:
        """Whether the fit may size a column: enough tail values and a small KS distance."""
        return self.n_tail >= min_tail and self.ks_distance <= max_ks

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PowerLawFit:
        """Inverse of `to_dict`."""
        return cls(**data)


def _survival(
    alpha: float | np.ndarray, xmin: float | np.ndarray, x: float | np.ndarray
) -> np.ndarray:
    ratio = scaled_zeta(alpha, x) / scaled_zeta(alpha, xmin)
    return ratio * np.exp(-alpha * np.log(x / xmin))


def _maximise(xmin: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """Solve CSN eq. 3.5 for every candidate at once; excess = mean of ln(x / xmin) > 0.

    The log-likelihood is concave in alpha, so Newton steps that leave the bracket are replaced
    by bisection and the pair always converges.
    """
    low, high = np.full(len(xmin), ALPHA_MIN), np.full(len(xmin), ALPHA_MAX)
    start = 1 + 1 / (excess + np.log(xmin / (xmin - 0.5)))  # CSN eq. 3.7, a start only
    alpha = np.clip(start, ALPHA_MIN, ALPHA_MAX)
    active = np.arange(len(xmin))
    for _ in range(100):
        at = alpha[active]
        _, slope, curvature = log_scaled_zeta(at, xmin[active])
        gradient = -slope - excess[active]
        low[active] = np.where(gradient > 0, at, low[active])
        high[active] = np.where(gradient > 0, high[active], at)
        step = at + gradient / curvature
        inside = (step > low[active]) & (step < high[active])
        alpha[active] = np.where(inside, step, 0.5 * (low[active] + high[active]))
        active = active[np.abs(alpha[active] - at) > 1e-7]  # the error is the square of a step
        if not len(active):
            break
    return alpha


def candidate_minima(
    values: np.ndarray, tail_values: np.ndarray, max_candidates: int, min_tail: int
) -> np.ndarray:
    """Distinct values that may be xmin; geometric in the value when there are too many."""
    # the last distinct value is never a candidate: its tail has one distinct value
    values = values[:-1][tail_values[:-1] >= min_tail]
    if len(values) > max_candidates:
        grid = np.geomspace(values[0], values[-1], max_candidates)
        # round-off must not push the ends off the data
        index = np.searchsorted(values, grid * (1 - 1e-12)).clip(max=len(values) - 1)
        values = values[np.unique(index)]
    return values


def fit_discrete(
    hist: CountHistogram,
    xmin: int | None = None,
    max_candidates: int = MAX_CANDIDATES,
    min_tail: int = MIN_TAIL,
) -> PowerLawFit | None:
    """Fit a discrete power law to the counts of a column.

    Exact maximum likelihood with the Hurwitz zeta function (Clauset, Shalizi & Newman, "Power-law
    distributions in empirical data", SIAM Review 51, 2009, eqs. 3.4-3.6), for all candidate xmin
    together. xmin minimises the Kolmogorov-Smirnov distance in the convention of the `powerlaw`
    package and of igraph: P(X >= v) of tail and law are compared at the observed counts v only.
    The cost depends on the number of distinct counts alone.

    Parameters
    ----------
    hist : CountHistogram
    xmin : int, optional
        Fix xmin instead of searching for it; it need not be an observed count.
    max_candidates : int
        Above so many distinct counts the candidates for xmin are spaced geometrically. They are
        still observed counts; every small count stays a candidate.
    min_tail : int
        A candidate needs so many column values at or above it. The paper searches without this
        limit and distrusts the fit afterwards.

    Returns
    -------
    PowerLawFit or None
        None when no candidate has `min_tail` values above it and two distinct counts, or when
        the best exponent exceeds 100.

    Raises
    ------
    ValueError
        If xmin or max_candidates is below 1.
    """
    if max_candidates < 1 or (xmin is not None and xmin < 1):
        raise ValueError("fit_discrete needs xmin >= 1 and max_candidates >= 1")
    if len(hist.values) < 2:
        return None
    candidates = candidate_minima(hist.values, hist.tail_values, max_candidates, min_tail)
    if xmin is not None:
        candidates = np.array([xmin])
    first = np.searchsorted(hist.values, candidates)
    usable = first < len(hist.values) - 1
    candidates, first = candidates[usable], first[usable]
    usable = hist.tail_values[first] >= min_tail
    candidates, first = candidates[usable].astype(float), first[usable]
    if not len(candidates):
        return None

    n_tail = hist.tail_values[first]
    excess = hist.tail_logs[first] / n_tail - np.log(candidates)
    alphas = _maximise(candidates, excess)
    kept = alphas < ALPHA_MAX - 1e-3
    if not kept.any():
        return None
    candidates, first, n_tail, excess, alphas = (
        each[kept] for each in (candidates, first, n_tail, excess, alphas)
    )
    values = hist.values.astype(float)
    best, distance = closest_law(
        hist.tail_values,
        first,
        lambda k, j: _survival(alphas[k], candidates[k], np.maximum(values[j], candidates[k])),
    )
    log_zeta, _, curvature = log_scaled_zeta(alphas[best], candidates[best])
    return PowerLawFit(
        alpha=float(alphas[best]),
        alpha_se=float(1 / np.sqrt(n_tail[best] * curvature)),
        xmin=int(candidates[best]),
        ks_distance=distance,
        n_tail=int(n_tail[best]),
        log_likelihood=float(-n_tail[best] * (log_zeta + alphas[best] * excess[best])),
    )
