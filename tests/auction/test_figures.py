"""Figures and intervals from sums of groups."""

from dataclasses import fields

import numpy as np
import pytest

from spark_ctr.auction.figures import FIGURES, SUMS, AuctionFigures, comparison, figures

SETTINGS = {"resamples": 400, "confidence": 0.9, "seed": 0}


def drawn(groups, seed, better=1.0):
    """Sums of groups of some auctions, whose welfare is 2 an auction on average."""
    rng = np.random.default_rng(seed)
    auctions = rng.poisson(20, groups)
    welfare = np.array([rng.exponential(2 * better, n).sum() for n in auctions])
    ones = auctions.astype(float)
    return np.stack([ones, ones, welfare / 2, welfare, 0.3 * ones, 0.25 * ones], 1)


def test_figures_are_ratios_of_sums():
    groups = np.array([[2, 3, 1.0, 4.0, 0.6, 0.5], [1, 1, 0.2, 1.0, 0.3, 0.5]])
    found = figures(groups, **SETTINGS)
    assert (found.auctions, found.shown) == (3, 4)
    assert found.revenue.value == pytest.approx(1.2 / 3)
    assert found.welfare.value == pytest.approx(5 / 3)
    assert found.ecpm.value == pytest.approx(1000 * 1.2 / 4)
    assert found.calibrationRatio.value == pytest.approx(0.9)
    assert tuple(field.name for field in fields(AuctionFigures))[2:] == FIGURES
    assert groups.shape[1] == len(SUMS)


def test_the_interval_holds_the_mean_as_often_as_it_says():
    held = sum(
        found.welfare.low < 2 < found.welfare.high
        for found in (figures(drawn(100, seed), **SETTINGS) for seed in range(200))
    )
    # 90 % of 200, two standard errors of 4.2 about it.
    assert 168 <= held <= 192


def test_a_baseline_of_the_same_auctions_narrows_the_interval():
    base = drawn(200, 1)
    better = base * [1, 1, 1, 1.02, 1, 1]
    found = comparison(better, base, **SETTINGS)["welfare"]
    assert found.value == pytest.approx(0.02)
    assert found.low == pytest.approx(0.02) and found.high == pytest.approx(0.02)
    alone = figures(base, **SETTINGS).welfare
    assert (alone.high - alone.low) / alone.value > 0.02


def test_other_auctions_are_refused():
    with pytest.raises(ValueError, match="same auctions"):
        comparison(drawn(10, 0), drawn(10, 1), **SETTINGS)
    with pytest.raises(ValueError, match="same auctions"):
        comparison(drawn(10, 0), drawn(9, 0), **SETTINGS)


def test_without_clicks_or_ads_figures_are_nan():
    groups = np.array([[1.0, 0, 0, 0, 0, 0], [2.0, 0, 0, 0, 0, 0]])
    found = figures(groups, **SETTINGS)
    assert found.revenue.value == 0
    assert np.isnan(found.ecpm.value) and np.isnan(found.calibrationRatio.value)
    none = figures(groups, **{**SETTINGS, "resamples": 0})
    assert np.isnan(none.revenue.low) and none.revenue.value == 0
