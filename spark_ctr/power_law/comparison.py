"""Likelihood-ratio comparisons of a fitted power law with other tails."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .fit import PowerLawFit
from .histogram import CountHistogram

ALTERNATIVES = ("lognormal", "exponential", "truncated_power_law", "stretched_exponential")


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


def _tail(hist: CountHistogram, xmin: int, max_values: int) -> np.ndarray:
    """Expand the tail to one count per column value; a fixed random subsample when too long."""
    first = int(np.searchsorted(hist.values, xmin))
    values, multiplicities = hist.values[first:], hist.multiplicities[first:]
    n = int(multiplicities.sum())
    if n <= max_values:
        return np.repeat(values, multiplicities).astype(float)
    picks = np.random.default_rng(0).choice(n, max_values, replace=False)
    index = np.searchsorted(np.cumsum(multiplicities), picks, side="right")
    return np.sort(values[index]).astype(float)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    # powerlaw prints progress and warns at every parameter near a bound
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield


def compare_alternatives(
    hist: CountHistogram,
    fit: PowerLawFit | None,
    alternatives: Sequence[str] = ALTERNATIVES,
    max_values: int = 20_000,
) -> tuple[list[Comparison], str]:
    """Compare the fitted power law with other distributions on the same tail.

    Uses the `powerlaw` package (Alstott, Bullmore & Plenz, PLoS ONE 9, 2014) at the fitted xmin.
    A report on the shape of the tail, never a gate: with many values every pure law is rejected.
    The truncated power law takes seconds, the others milliseconds.

    Parameters
    ----------
    hist : CountHistogram
    fit : PowerLawFit or None
        As returned by `fit_discrete(hist)`.
    alternatives : sequence of str
        Any of "lognormal", "exponential", "truncated_power_law", "stretched_exponential".
    max_values : int
        Longer tails are compared on a random subsample of this size, the same on every call.

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
    data = _tail(hist, fit.xmin, max_values)
    if len(np.unique(data)) < 2:
        return [], "the tail has fewer than two distinct counts"

    import powerlaw  # slow to import; only reports need it

    comparisons, failures = [], []
    with _silence():
        # the package's default range of alpha is [0, 3]
        law = powerlaw.Fit(
            data,
            discrete=True,
            xmin=fit.xmin,
            estimate_discrete=False,
            parameter_ranges={"alpha": (0, 100)},
            verbose=0,
        )
        for name in alternatives:
            try:
                ratio, p_value = law.distribution_compare("power_law", name, normalized_ratio=True)
            except Exception as error:  # a report must survive whatever the optimiser meets
                failures.append(f"{name}: {type(error).__name__}: {error}")
                continue
            if np.isfinite(ratio) and np.isfinite(p_value):
                comparisons.append(Comparison(name, float(ratio), float(p_value)))
            else:
                failures.append(f"{name}: no finite likelihood ratio")
    return comparisons, "; ".join(failures)


def better_alternative(comparisons: Sequence[Comparison], significance: float = 0.1) -> str | None:
    """Return the alternative that beats the power law most significantly, or None."""
    better = [c for c in comparisons if c.normalized_ratio < 0 and c.p_value < significance]
    return min(better, key=lambda c: (c.p_value, c.normalized_ratio)).name if better else None
