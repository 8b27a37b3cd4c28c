"""Figures of an auction from sums of groups of auctions, with intervals; no Spark.

Auctions are put into groups by a hash, so that the sums of each group are those of auctions drawn
at random. The bootstrap draws groups: as many sums to keep, however many auctions there are. Groups
differ in size, so every figure is a ratio of sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Sums of a group, in this order.
SUMS = ("auctions", "shown", "revenue", "welfare", "predicted", "clicks")


@dataclass(frozen=True)
class Interval:
    """A figure and the limits between which it lies with the confidence asked for."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class AuctionFigures:
    """What came of auctions.

    Attributes
    ----------
    auctions, shown : int
        Auctions, and ads that they showed.
    revenue, welfare : Interval
        What is paid, and what it is worth to those who pay, in the bids' currency; of an auction.
    ecpm : Interval
        What is paid for a thousand ads that are shown.
    calibrationRatio : Interval
        Clicks that the scores promise of the ads shown over those that come: above 1, the auction
        picks what is overrated. nan without a click.
    """

    auctions: int
    shown: int
    revenue: Interval
    welfare: Interval
    ecpm: Interval
    calibrationRatio: Interval


# Numerator, denominator and factor of each figure.
_RATIOS = {
    "revenue": ("revenue", "auctions", 1.0),
    "welfare": ("welfare", "auctions", 1.0),
    "ecpm": ("revenue", "shown", 1000.0),
    "calibrationRatio": ("predicted", "clicks", 1.0),
}
FIGURES = tuple(_RATIOS)


def figures(groups: np.ndarray, *, resamples: int, confidence: float, seed: int) -> AuctionFigures:
    """Return the figures of auctions.

    Parameters
    ----------
    groups : ndarray [groups, len(SUMS)], float64
        Sums of each group that has auctions.
    resamples : int
        Of the bootstrap over groups.
    confidence : float
        Of the intervals, which are those of its percentiles.
    seed : int

    Returns
    -------
    AuctionFigures
    """
    sums, drawn = groups.sum(0), _resampled(groups, resamples, seed)
    found = {}
    for name in FIGURES:
        found[name] = _interval(_ratio(sums, name), _ratio(drawn, name), confidence)
    return AuctionFigures(int(sums[0]), int(sums[1]), **found)


def comparison(
    groups: np.ndarray,
    baseline: np.ndarray,
    *,
    resamples: int,
    confidence: float,
    seed: int,
) -> dict[str, Interval]:
    """Return by which share figures lie above those of a baseline in the same auctions.

    Parameters
    ----------
    groups, baseline : ndarray [groups, len(SUMS)], float64
        Of the same groups in the same order, so that both are drawn together.
    resamples, confidence, seed
        See `figures`.

    Returns
    -------
    dict of str to Interval
        Of each of `FIGURES`; 0.01 is one percent above.

    Raises
    ------
    ValueError
        If the groups are not of the same auctions.
    """
    if groups.shape != baseline.shape or not np.array_equal(groups[:, 0], baseline[:, 0]):
        raise ValueError("the groups are not of the same auctions")
    both = np.concatenate([groups, baseline], axis=1)
    drawn, width = _resampled(both, resamples, seed), len(SUMS)
    sums = both.sum(0)
    found = {}
    for name in FIGURES:
        with np.errstate(invalid="ignore", divide="ignore"):
            value = _ratio(sums[:width], name) / _ratio(sums[width:], name) - 1
            values = _ratio(drawn[:, :width], name) / _ratio(drawn[:, width:], name) - 1
        found[name] = _interval(value, values, confidence)
    return found


def _resampled(groups: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the sums of groups drawn with replacement, [resamples, columns]."""
    rng, count = np.random.default_rng(seed), len(groups)
    drawn = np.empty((resamples, groups.shape[1]))
    for i in range(resamples):
        drawn[i] = np.bincount(rng.integers(count, size=count), minlength=count) @ groups
    return drawn


def _ratio(sums: np.ndarray, name: str) -> np.ndarray:
    above, below, factor = _RATIOS[name]
    column = {part: i for i, part in enumerate(SUMS)}
    with np.errstate(invalid="ignore", divide="ignore"):
        return factor * sums[..., column[above]] / sums[..., column[below]]


def _interval(value: np.ndarray, drawn: np.ndarray, confidence: float) -> Interval:
    """Return a value and its limits among those drawn, nan where none of them is a number."""
    finite = drawn[np.isfinite(drawn)]
    low = high = np.nan
    if len(finite):
        low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))
