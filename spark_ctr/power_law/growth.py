"""How a column's vocabulary grows with the log, and how often a row will bring an unseen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import betaln

from .histogram import CountHistogram

_POINTS = 32  # of the random-order curve that Heaps' law is fitted to


@dataclass(frozen=True)
class VocabularyGrowth:
    """Heaps' law V(n) = scale * n**beta at the end of a log, and the share of unseen values.

    Attributes
    ----------
    beta : float
        Growth exponent: 0 for a closed vocabulary, 1 where every row brings a new value.
    scale : float
        K in V(n) = K n**beta.
    rows, distinct : int
        Non-missing rows of the log, and distinct values in them.
    unseen_share : float
        Expected share of the rows after the log whose value does not occur in it. As measured, or
        else by Good and Turing (Good 1953): the values seen once, over the rows.
    ordered : bool
        Whether beta is from the order of the log; False when from its histogram, as if shuffled.
    """

    beta: float
    scale: float
    rows: int
    distinct: int
    unseen_share: float
    ordered: bool

    def distinct_after(self, rows: float | np.ndarray) -> np.ndarray:
        """Return the expected distinct values in a log of `rows` rows, from its end on.

        The curve is led through the end of the log, where the fitted law may be off by a little.
        """
        return self.distinct * (np.asarray(rows, float) / self.rows) ** self.beta

    def new_value_share(self, rows: int) -> float:
        """Return the expected new distinct values per row in the next `rows` >= 1 rows."""
        return float(self.distinct_after(self.rows + rows) - self.distinct) / rows

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VocabularyGrowth:
        """Inverse of `to_dict`."""
        return cls(**data)


def heaps_fit(rows: np.ndarray, distinct: np.ndarray) -> tuple[float, float]:
    """Fit Heaps' law V(n) = K n**beta to measured points.

    Least squares of ln V on ln n, each point weighted by its rows, over the points from half of
    the log on: the curve of a real log bends, and what is asked is how it goes on after the end.

    Parameters
    ----------
    rows : array, shape (P,)
        Rows n_i > 0 up to each point, in the log's order, increasing.
    distinct : array, shape (P,)
        Distinct values V_i > 0 in those rows, not decreasing.

    Returns
    -------
    beta : float
        In [0, 1], for a growth that is neither negative nor more than the rows.
    scale : float
        K.

    Raises
    ------
    ValueError
        If fewer than two points lie in the second half, or the points are not such a curve.
    """
    n, v = np.asarray(rows, float), np.asarray(distinct, float)
    if n.ndim != 1 or n.shape != v.shape or not (np.all(n > 0) and np.all(v > 0)):
        raise ValueError("heaps_fit needs one positive number of distinct values per row number")
    if np.any(np.diff(n) <= 0) or np.any(np.diff(v) < 0) or np.any(v > n):
        raise ValueError("heaps_fit needs increasing rows, and distinct values that never fall")
    later = n >= n[-1] / 2 if len(n) else np.zeros(0, bool)
    if later.sum() < 2:
        raise ValueError("heaps_fit needs two points or more in the second half of the log")
    x, y, weights = np.log(n[later]), np.log(v[later]), n[later]
    mean_x, mean_y = np.average(x, weights=weights), np.average(y, weights=weights)
    beta = float(weights @ ((x - mean_x) * (y - mean_y)) / (weights @ (x - mean_x) ** 2))
    beta = min(max(beta, 0.0), 1.0)
    return beta, float(np.exp(mean_y - beta * mean_x))


def expected_distinct(hist: CountHistogram, rows: float | np.ndarray) -> np.ndarray:
    """Return the expected distinct values in a random sample of the log's rows (rarefaction).

    E[V(m)] = sum of c_j (1 - C(n - v_j, m) / C(n, m)), exact for every m up to the log's n rows
    (Hurlbert 1971): how the vocabulary grew if the log is in random order.

    Parameters
    ----------
    hist : CountHistogram
    rows : float or array
        Sample sizes m, 0 <= m <= hist.total; need not be whole.

    Returns
    -------
    float64 array
        The shape of `rows`.

    Raises
    ------
    ValueError
        If a sample size is out of range.
    """
    m, n = np.asarray(rows, float), float(hist.total)
    if not np.all((m >= 0) & (m <= n)):
        raise ValueError(f"expected_distinct needs 0 <= rows <= {hist.total}, the rows of the log")
    left = n - m[..., None] - hist.values  # rows to spare if the sample misses a value
    # the ratio of binomials as one of beta functions, which loses fewer digits than of gammas
    start = betaln(n - hist.values + 1, hist.values)
    log_missed = start - betaln(np.maximum(left, 0.0) + 1, hist.values)
    missed = np.where(left > -1e-9, np.exp(np.minimum(log_missed, 0.0)), 0.0)
    return (1 - missed) @ hist.multiplicities.astype(float)


def vocabulary_growth(
    hist: CountHistogram,
    rows: np.ndarray | None = None,
    distinct: np.ndarray | None = None,
    unseen_share: float | None = None,
) -> VocabularyGrowth:
    """Return a column's vocabulary growth, from measured points or from its histogram alone.

    Parameters
    ----------
    hist : CountHistogram
        Of the whole log, not empty.
    rows, distinct : array, optional
        Points of the growth in the log's order, for `heaps_fit`. Without them the growth is that
        of the shuffled log, which misses that old values go out of use and new ones come up.
    unseen_share : float, optional
        As measured at the end of the log: the share of its last rows whose value does not occur
        before them. Good and Turing's estimate, which takes its place, assumes random order.

    Returns
    -------
    VocabularyGrowth

    Raises
    ------
    ValueError
        If the histogram is empty, only one of rows and distinct is given, or `heaps_fit` raises.
    """
    if not len(hist.values):
        raise ValueError("vocabulary_growth needs a column with at least one value")
    if (rows is None) != (distinct is None):
        raise ValueError("vocabulary_growth needs both rows and distinct, or neither")
    total = hist.total
    if unseen_share is None:
        singletons = hist.multiplicities[0] if hist.values[0] == 1 else 0
        unseen_share = float(singletons / total)
    ordered = rows is not None and distinct is not None
    if total == 1:
        beta, scale = 1.0, 1.0
    elif rows is not None and distinct is not None:
        beta, scale = heaps_fit(rows, distinct)
    else:
        points = np.linspace(total / 2, total, _POINTS)
        curve = np.minimum(expected_distinct(hist, points), points)
        # round-off must not bend a curve that has reached all values
        beta, scale = heaps_fit(points, np.maximum.accumulate(curve))
    return VocabularyGrowth(beta, scale, total, hist.n, unseen_share, ordered)
