"""How much a categorical column says about the label."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy
from scipy.stats import binom

_ASYMPTOTIC = 50.0  # expected rows of the rarer label from which Miller-Madow is exact enough


def _entropy(p: np.ndarray) -> np.ndarray:
    return -(xlogy(p, p) + xlogy(1 - p, 1 - p))


def _divergence(k: np.ndarray, n: np.ndarray, rate: float) -> np.ndarray:
    """Return n times the Kullback-Leibler divergence of k/n from the overall rate, nats."""
    return xlogy(k, k / (n * rate)) + xlogy(n - k, (n - k) / (n * (1 - rate)))


def _null_divergence(n: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of `_divergence` when n rows draw their label independently."""
    # 2 * divergence is chi-squared with one degree of freedom: Miller-Madow's half a nat
    mean, variance = np.full(len(n), 0.5), np.full(len(n), 0.5)
    rate = min(rate, 1 - rate)
    rare = n * rate < _ASYMPTOTIC
    # chunks bound the memory: (values of n) x (numbers of positives)
    for chunk in np.array_split(np.flatnonzero(rare), max(1, int(rare.sum()) // 1000)):
        if len(chunk):
            rows = n[chunk].astype(float)
            top = rows.max() * rate
            k = np.arange(min(rows.max(), np.ceil(top + 10 * np.sqrt(top) + 20)) + 1)
            k, rows = np.minimum(k[None, :], rows[:, None]), rows[:, None]
            weight = binom.pmf(k, rows, rate)
            weight[:, 1:][k[:, 1:] == k[:, :-1]] = 0.0  # k beyond n was clipped onto n
            value = _divergence(k, rows, rate)
            mean[chunk] = (weight * value).sum(axis=1)
            variance[chunk] = (weight * value**2).sum(axis=1) - mean[chunk] ** 2
    return mean, variance


def label_relevance(
    counts: np.ndarray,
    positives: np.ndarray,
    tail_count: int = 0,
    tail_positives: int = 0,
    z: float = 0.0,
    values: np.ndarray | None = None,
) -> float:
    """Bias-corrected mutual information of column and binary label, over the label's entropy.

    The plug-in estimate grows with the number of values even when the column is noise. Its
    expectation under independence, conditional on the counts, is therefore subtracted: the
    Miller-Madow term (K - 1) / 2N nats (Miller 1955) where both labels are expected often, and
    the exact binomial expectation for values with fewer than 50 expected rows of the rarer
    label, for which Miller-Madow is far off (compare the adjusted mutual information of Vinh,
    Epps & Bailey, JMLR 11, 2010).

    Parameters
    ----------
    counts, positives : int arrays, shape (K,)
        Rows, and rows with label 1, of each head value. Give missing as one more value.
    values : int array, shape (K,), optional
        How many values have these counts, so that K need not be the number of values; one each.
    tail_count, tail_positives : int
        The same for all remaining values, pooled into one.
    z : float
        Subtract also so many standard deviations of the estimate under independence; 2 drops
        97 % of noise columns to zero, and -2 tells how much the column may say at most.

    Returns
    -------
    float
        In [0, 1]: 0 for no information, near 1 when few values determine the label, and near 0
        when every row has its own value. 0 too when there are no rows or only one label, which
        is no evidence: nothing could have been seen.

    Raises
    ------
    ValueError
        If shapes differ or any positives lie outside [0, count].
    """
    n = np.append(np.asarray(counts, float).ravel(), float(tail_count))
    k = np.append(np.asarray(positives, float).ravel(), float(tail_positives))
    if n.shape != k.shape:
        raise ValueError("label_relevance needs one number of positives per count")
    if not np.all((k >= 0) & (k <= n)):
        raise ValueError("label_relevance needs 0 <= positives <= count for every value")
    weights = np.ones(len(n)) if values is None else np.append(np.asarray(values, float), 1.0)
    n, k, weights = n[n > 0], k[n > 0], weights[n > 0]
    total, positive = (weights * n).sum(), (weights * k).sum()
    if weights.sum() < 2 or positive in (0, total):
        return 0.0
    rate = positive / total
    divergence = (weights * _divergence(k, n, rate)).sum()

    distinct, inverse = np.unique(n, return_inverse=True)
    mean, variance = _null_divergence(distinct, rate)
    # the overall rate is fixed by the same rows: the variance of drawing without replacement
    finite = weights * (total - n) / max(total - 1, 1)
    bias = (finite * mean[inverse]).sum()
    noise = np.sqrt((finite * variance[inverse]).sum())
    information = divergence - bias - z * noise
    return float(np.clip(information / (total * _entropy(rate)), 0.0, 1.0))
