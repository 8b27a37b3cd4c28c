"""Whether data could have come from their fitted power law: the semiparametric bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .fit import MAX_CANDIDATES, MIN_TAIL, PowerLawFit, candidate_minima, fit_discrete
from .histogram import CountHistogram
from .hurwitz import scaled_zeta

_CELLS = 32, 1_000_000  # fewest and most counts drawn together by one multinomial
_LARGEST = 2**62  # a count beyond it, one draw in 10**9 at alpha 1.5, is drawn as this


@dataclass(frozen=True)
class BootstrapTest:
    """Result of `bootstrap_test`.

    Attributes
    ----------
    p_value : float
        Share of synthetic sets that lie as far from their own fit as the data from theirs, or
        farther. The law is implausible at 0.1 or below (CSN). NaN where no set could be fitted.
    sets : int
        Synthetic sets drawn that could be fitted.
    """

    p_value: float
    sets: int


def draw_zeta(alpha: float, xmin: int, size: int, rng: np.random.Generator) -> CountHistogram:
    """Draw the histogram of `size` values of the law P(x) ~ x**-alpha on whole x >= xmin.

    The frequent counts are drawn together by one multinomial, and one by one only the values
    beyond them, by inversion of the exact tail probability: about size**(1 / alpha) draws.

    Parameters
    ----------
    alpha : float
        Exponent, > 1.
    xmin, size : int
        >= 1, >= 0.
    rng : numpy Generator

    Returns
    -------
    CountHistogram
    """
    # from here on fewer values are expected than counts lie below
    balance = np.exp((np.log(max(size, 1)) + (alpha - 1) * np.log(xmin)) / alpha)
    cells = int(np.clip(balance - xmin, *_CELLS))
    counts = np.arange(xmin, xmin + cells, dtype=np.int64)
    scale = scaled_zeta(alpha, float(xmin))
    beyond = float(xmin + cells)
    chances = np.append((counts / xmin) ** -alpha, scaled_zeta(alpha, beyond))
    chances[-1] *= (beyond / xmin) ** -alpha
    drawn = rng.multinomial(size, chances / max(chances.sum(), float(scale)))
    far, far_drawn = np.unique(_draw_beyond(alpha, beyond, int(drawn[-1]), rng), return_counts=True)
    seen = drawn[:-1] > 0
    return CountHistogram(
        np.concatenate([counts[seen], far]), np.concatenate([drawn[:-1][seen], far_drawn])
    )


def _draw_beyond(alpha: float, least: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw whole values >= least by inversion; int64, shape (size,)."""
    chance = 1 - rng.random(size)  # (0, 1]
    # P(X >= y) extends smoothly to real y: solve it for y, whose whole part is the draw
    log_y = np.log(least) - np.log(chance) / (alpha - 1)
    target = np.log(chance) + np.log(scaled_zeta(alpha, least))
    for _ in range(8):
        y = np.exp(log_y)
        error = np.log(scaled_zeta(alpha, y)) - alpha * (log_y - np.log(least)) - target
        step = error / (alpha - 1)
        log_y = np.maximum(log_y + step, np.log(least))
        if not size or np.max(np.abs(step)) < 1e-12:
            break
    return np.minimum(np.floor(np.exp(log_y)), _LARGEST).astype(np.int64)


def bootstrap_test(
    hist: CountHistogram,
    fit: PowerLawFit,
    precision: float = 0.1,
    seed: int = 0,
    max_candidates: int = MAX_CANDIDATES,
    min_tail: int = MIN_TAIL,
) -> BootstrapTest:
    """Test the hypothesis that the tail of a column's counts follows its fitted power law.

    Clauset, Shalizi & Newman 2009, section 4.1: a synthetic set has as many values as the data,
    each with probability n_tail / n drawn from the fit and else resampled from the data below
    xmin; xmin and alpha are fitted to it as they were to the data. Sets are drawn and fitted as
    histograms, so the cost does not grow with the number of values.

    A report on the shape, never a gate: with many values every pure law is rejected, and with 100
    or fewer hardly any is.

    Parameters
    ----------
    hist : CountHistogram
    fit : PowerLawFit
        As returned by `fit_discrete(hist, None, max_candidates, min_tail)`.
    precision : float
        Largest standard error of the p-value, in (0, 0.5]: 1 / (4 precision**2) sets are drawn.
        The default's 25 sets keep a report of ten columns near a second and make an error of at
        most 0.06 where p is 0.1; a statement about one column deserves the paper's 0.01.
    seed : int
        The same seed gives the same p-value.
    max_candidates, min_tail : int
        As in `fit_discrete`.

    Returns
    -------
    BootstrapTest

    Raises
    ------
    ValueError
        If precision is out of range.
    """
    if not 0 < precision <= 0.5:
        raise ValueError(f"bootstrap_test needs 0 < precision <= 0.5, not {precision}")
    rng = np.random.default_rng(seed)
    sets = math.ceil(1 / (4 * precision**2) - 1e-9)
    below = int(np.searchsorted(hist.values, fit.xmin))
    n = hist.n
    chances = hist.multiplicities[:below] / max(n - fit.n_tail, 1)
    farther = fitted = 0
    for _ in range(sets):
        n_tail = int(rng.binomial(n, fit.n_tail / n))
        tail = draw_zeta(fit.alpha, fit.xmin, n_tail, rng)
        resampled = rng.multinomial(n - n_tail, chances) if below else np.empty(0, np.int64)
        seen = resampled > 0
        drawn = CountHistogram(
            np.concatenate([hist.values[:below][seen], tail.values]),
            np.concatenate([resampled[seen], tail.multiplicities]),
        )
        closer = _closer(drawn, fit, max_candidates, min_tail)
        fitted += closer is not None
        farther += closer is False
    return BootstrapTest(farther / fitted if fitted else math.nan, fitted)


def _closer(
    drawn: CountHistogram, fit: PowerLawFit, max_candidates: int, min_tail: int
) -> bool | None:
    """Whether the best fit to a drawn set is closer to it than `fit` is to the data; None: none."""
    # one candidate that is close enough decides, and the true xmin mostly is one
    minima = candidate_minima(drawn.values, drawn.tail_values, max_candidates, min_tail)
    if fit.xmin in minima:
        likely = fit_discrete(drawn, fit.xmin, max_candidates, min_tail)
        if likely is not None and likely.ks_distance < fit.ks_distance:
            return True
    best = fit_discrete(drawn, None, max_candidates, min_tail)
    return None if best is None else best.ks_distance < fit.ks_distance
