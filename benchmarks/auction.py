"""What a model's predictions are worth in a simulated auction for ads that pay by the click.

Second price: the ad with the highest bid times predicted probability is shown, and a click on it
costs what it would just have won with, the next best's bid times its prediction over the winner's
own prediction. Revenue (price times probability) and welfare (bid times probability) are expected
values under the **true** probabilities of the rows, so that no clicks are drawn. Bids are
log-normal and say nothing about the probabilities.

Revenue alone can rise under worse predictions, as where they are shrunk towards their mean: read it
beside welfare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ADS = 8
BID_SPREAD = 0.5  # standard deviation of a bid's logarithm


@dataclass(frozen=True, eq=False)
class Auctions:
    """Which ads meet.

    Attributes
    ----------
    ads : int array [auctions, ads]
        Rows of the log.
    bids : float64 array [auctions, ads]
        Of a click.
    """

    ads: np.ndarray
    bids: np.ndarray


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of each auction: float64 arrays [auctions] of expected values."""

    revenue: np.ndarray
    welfare: np.ndarray


@dataclass(frozen=True)
class Interval:
    """A figure and where it lies with the confidence asked for."""

    value: float
    low: float
    high: float


def draw_auctions(rows: int, auctions: int, seed: int, ads: int = ADS) -> Auctions:
    """Draw the ads of each auction from so many rows of a log, and their bids.

    Raises
    ------
    ValueError
        For fewer than two ads, which have no second price.
    """
    if ads < 2:
        raise ValueError(f"an auction needs at least 2 ads, got {ads}")
    rng = np.random.default_rng(seed)
    shape = auctions, ads
    return Auctions(rng.integers(rows, size=shape), rng.lognormal(0.0, BID_SPREAD, shape))


def hold(auctions: Auctions, predicted: np.ndarray, true: np.ndarray) -> Outcome:
    """Hold the auctions by the predictions of one model.

    Parameters
    ----------
    predicted, true : float array [rows]
        Click probabilities of the rows; predictions are above 0.
    """
    predicted, true = predicted.astype(np.float64), true.astype(np.float64)
    score = auctions.bids * predicted[auctions.ads]
    each = np.arange(len(score))
    won = score.argmax(1)
    shown = auctions.ads[each, won]
    price = np.partition(score, -2, axis=1)[:, -2] / predicted[shown]
    return Outcome(price * true[shown], auctions.bids[each, won] * true[shown])


def compare(
    one: Outcome, other: Outcome, *, resamples: int = 500, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Return how far one model's revenue and welfare lie above another's, relative to those.

    Both held the same auctions. The interval is that of the bootstrap over auctions: it says what
    other auctions among the same rows would tell.
    """
    parts = np.stack([one.revenue, other.revenue, one.welfare, other.welfare])
    rng = np.random.default_rng(seed)
    count = parts.shape[1]
    sums = np.stack(
        [
            parts @ np.bincount(rng.integers(count, size=count), minlength=count)
            for _ in range(resamples)
        ]
    )
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    found = {}
    for i, name in enumerate(("revenue", "welfare")):
        mine, theirs = parts[2 * i : 2 * i + 2].sum(1)
        low, high = np.quantile(sums[:, 2 * i] / sums[:, 2 * i + 1] - 1, tails)
        found[name] = Interval(float(mine / theirs - 1), float(low), float(high))
    return found
