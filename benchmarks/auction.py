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

from spark_ctr.auction.figures import SUMS, Interval, comparison

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
    found = comparison(
        *map(_groups, (one, other)), resamples=resamples, confidence=confidence, seed=seed
    )
    return {name: found[name] for name in ("revenue", "welfare")}


def _groups(outcome: Outcome) -> np.ndarray:
    """Return the sums of groups of one auction each."""
    sums = np.zeros((len(outcome.revenue), len(SUMS)))
    sums[:, SUMS.index("auctions")] = 1
    sums[:, SUMS.index("revenue")] = outcome.revenue
    sums[:, SUMS.index("welfare")] = outcome.welfare
    return sums
