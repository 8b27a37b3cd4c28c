"""Likelihood-ratio comparisons of a fitted power law with other tails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import erfc

from .alternatives import DISTRIBUTIONS
from .fit import PowerLawFit
from .histogram import CountHistogram
from .hurwitz import log_scaled_zeta

ALTERNATIVES = tuple(DISTRIBUTIONS)


@dataclass(frozen=True)
class Comparison:
    """Power law against one alternative.

    Attributes
    ----------
    name : str
        The alternative, by its name in the `powerlaw` package.
    normalized_ratio : float
        Log-likelihood ratio over its standard deviation; negative favours the alternative.
    p_value : float
        Probability of a ratio this large when neither is better (Vuong 1989); for the truncated
        power law, which nests the power law, from the chi-squared distribution of 2R.
    """

    name: str
    normalized_ratio: float
    p_value: float


def compare_alternatives(
    hist: CountHistogram,
    fit: PowerLawFit | None,
    alternatives: Sequence[str] = ALTERNATIVES,
) -> tuple[list[Comparison], str]:
    """Compare the fitted power law with other distributions on the same tail.

    Likelihood-ratio tests of Clauset, Shalizi & Newman 2009, section 5, on the histogram: exact for
    any number of values, at a cost that depends on the number of distinct counts alone. The
    discrete alternatives are those of the `powerlaw` package (Alstott, Bullmore & Plenz, PLoS ONE
    9, 2014): another discretisation moves the ratios, mostly by less than one.

    A report on the shape of the tail, never a gate: with many values every pure law is rejected.

    Parameters
    ----------
    hist : CountHistogram
    fit : PowerLawFit or None
        As returned by `fit_discrete(hist)`.
    alternatives : sequence of str
        Any of "lognormal", "exponential", "truncated_power_law", "stretched_exponential".

    Returns
    -------
    comparisons : list of Comparison
        Without the alternatives that could not be fitted.
    reason : str
        Why alternatives are missing; empty when none is.

    Raises
    ------
    ValueError
        If an alternative is unknown.
    """
    unknown = [name for name in alternatives if name not in ALTERNATIVES]
    if unknown:
        raise ValueError(f"unknown alternatives {unknown}; choose from {list(ALTERNATIVES)}")
    if fit is None:
        return [], "no power-law fit to compare with"
    first = int(np.searchsorted(hist.values, fit.xmin))
    x, weights = hist.values[first:].astype(float), hist.multiplicities[first:].astype(float)
    if len(x) < 2:
        return [], "the tail has fewer than two distinct counts"
    law = -fit.alpha * np.log(x / fit.xmin) - log_scaled_zeta(fit.alpha, float(fit.xmin))[0]
    comparisons, failures = [], []
    for name in alternatives:
        difference = law - DISTRIBUTIONS[name](x, weights, fit.xmin)
        comparison = _likelihood_ratio(name, difference, weights)
        if np.isfinite(comparison.normalized_ratio) and np.isfinite(comparison.p_value):
            comparisons.append(comparison)
        else:
            failures.append(f"{name}: no finite likelihood ratio")
    return comparisons, "; ".join(failures)


def _likelihood_ratio(name: str, difference: np.ndarray, weights: np.ndarray) -> Comparison:
    ratio, n = float(weights @ difference), weights.sum()
    deviation = np.sqrt(n * np.average((difference - ratio / n) ** 2, weights=weights))
    if name == "truncated_power_law":
        # chi-squared with one degree of freedom; a nested law is never better but for round-off
        ratio = min(ratio, 0.0)
        p_value = erfc(np.sqrt(-ratio))
    else:
        p_value = erfc(abs(ratio) / (np.sqrt(2) * deviation))
    if name == "truncated_power_law" and deviation < 1e-6:
        return Comparison(name, 0.0, 1.0)  # it is the power law
    return Comparison(name, float(ratio / deviation), float(p_value))


def better_alternative(comparisons: Sequence[Comparison], significance: float = 0.1) -> str | None:
    """Return the alternative that beats the power law most significantly, or None."""
    better = [c for c in comparisons if c.normalized_ratio < 0 and c.p_value < significance]
    return min(better, key=lambda c: (c.p_value, c.normalized_ratio)).name if better else None
