"""How a column's vocabulary grows with the log, and how often a row will bring an unseen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import betaln

from .histogram import CountHistogram

_POINTS = 32  # of the random-order curve that Heaps' law is fitted to
HORIZON = 0.25  # rows ahead, as a share of the log: the last fifth of a log cut four to one


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
        Expected share of the rows after the log whose value does not occur in it, see
        `expected_unseen`.
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
    return (1 - _missed(hist, m)) @ hist.multiplicities.astype(float)


def _missed(hist: CountHistogram, m: np.ndarray) -> np.ndarray:
    """Probabilities that m random rows hold none of a value's, by count; shape (*m.shape, U)."""
    n = float(hist.total)
    left = n - m[..., None] - hist.values  # rows to spare if the sample misses a value
    # the ratio of binomials as one of beta functions, which loses fewer digits than of gammas
    start = betaln(n - hist.values + 1, hist.values)
    log_missed = start - betaln(np.maximum(left, 0.0) + 1, hist.values)
    return np.where(left > -1e-9, np.exp(np.minimum(log_missed, 0.0)), 0.0)


def expected_unseen(
    hist: CountHistogram,
    horizon: float = HORIZON,
    tail: float | None = None,
    measured: float | None = None,
) -> float:
    """Return the expected share of the rows after a log whose value does not occur in it.

    In a log without an order that is the share of the values seen once (Good and Turing, Good
    1953), however many rows come: each is a draw of its own. Where values go out of use and new
    ones come up it is too low. The share by which the last rows of an ordered log brought more
    unseen values than they would have in random order (exactly, by the counts) is what had come up
    meanwhile, and comes on top for the rows ahead. What the last rows brought is no estimate by
    itself: the log before them was shorter.

    Parameters
    ----------
    hist : CountHistogram
        Of the whole log, not empty.
    horizon : float
        Rows ahead, as a share of the log's rows.
    tail, measured : float, optional
        The share of the log in its last rows, best as long as `horizon`, and the share of these
        whose value does not occur before them.

    Returns
    -------
    float
        In [0, 1].
    """
    total = float(hist.total)
    once = float(hist.multiplicities[0] / total) if hist.values[0] == 1 else 0.0
    if tail is None or measured is None or not 0 < tail < 1:
        return once
    rows = hist.values * hist.multiplicities / (total * tail)
    shuffled = float(_missed(hist, np.asarray((1 - tail) * total)) @ rows)
    if shuffled >= 1 or measured <= shuffled:  # every value is new anyhow, or nothing came up
        return once
    old = ((1 - min(measured, 1.0)) / (1 - shuffled)) ** (horizon / tail)
    return 1 - (1 - once) * old


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
        From `expected_unseen`; by default that of the shuffled log.

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
        unseen_share = expected_unseen(hist)
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
