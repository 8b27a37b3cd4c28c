"""Vocabulary growth: exact rarefaction, Heaps' law, unseen values of a real log."""

import json
from math import comb

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.power_law import (
    CountHistogram,
    VocabularyGrowth,
    draw_zeta,
    expected_distinct,
    heaps_fit,
    vocabulary_growth,
)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.floats(0, 1))
def test_rarefaction_is_the_exact_expectation(counts, share):
    hist = CountHistogram.from_counts(counts)
    n, m = hist.total, int(share * hist.total)
    expected = sum(1 - comb(n - v, m) / comb(n, m) for v in counts)
    assert expected_distinct(hist, m) == pytest.approx(expected, abs=1e-9)
    assert expected_distinct(hist, n) == pytest.approx(len(counts))


def test_rarefaction_is_stable_on_huge_logs():
    hist = CountHistogram([1, 2, 10**10], [10**8, 10**7, 1])
    half = hist.total / 2
    # a half sample misses a value seen once with probability 1/2, seen twice with 1/4
    assert expected_distinct(hist, half) == pytest.approx(0.5e8 + 0.75e7 + 1, rel=1e-9)


def test_heaps_fit_recovers_the_law():
    n = np.linspace(1000, 100_000, 40)
    beta, scale = heaps_fit(n, 7 * n**0.6)
    assert beta == pytest.approx(0.6) and scale == pytest.approx(7)
    # only the later half counts: early growth of another kind changes nothing
    bent = np.where(n < 50_000, np.minimum(n, 7 * 50_000**0.6), 7 * n**0.6)
    assert heaps_fit(n, bent)[0] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "rows, distinct",
    [([10], [5]), ([1, 2], [2, 1]), ([2, 1], [1, 1]), ([10, 20], [5, 21]), ([], [])],
)
def test_heaps_fit_rejects_what_is_no_growth_curve(rows, distinct):
    with pytest.raises(ValueError, match="heaps_fit needs"):
        heaps_fit(np.array(rows), np.array(distinct))


def test_next_rows_of_a_shuffled_log():
    counts = draw_zeta(1.7, 1, 20_000, np.random.default_rng(0))
    counts = CountHistogram(
        counts.values[counts.values < 1000], counts.multiplicities[counts.values < 1000]
    )
    log = np.random.default_rng(1).permutation(
        np.repeat(np.arange(counts.n), np.repeat(counts.values, counts.multiplicities))
    )
    seen, later = np.split(log, [int(0.8 * len(log))])
    growth = vocabulary_growth(CountHistogram.from_counts(np.bincount(seen)[np.unique(seen)]))
    assert growth.unseen_share == pytest.approx((~np.isin(later, seen)).mean(), rel=0.05)
    fresh = len(np.unique(log)) - len(np.unique(seen))
    assert growth.new_value_share(len(later)) == pytest.approx(fresh / len(later), rel=0.1)


def test_talkingdata_by_time(shared):
    columns = pq.read_table(shared / "data/talkingdata/clicks_first_80k.parquet")
    betas = {}
    for name in ("ip", "app", "os", "channel"):
        values = columns[name].to_numpy()
        cut = int(0.8 * len(values))
        is_new = np.zeros(len(values), int)
        is_new[np.unique(values, return_index=True)[1]] = 1
        curve = np.cumsum(is_new)
        rows = np.linspace(1000, cut, 64).astype(int)
        counts = np.unique(values[:cut], return_counts=True)[1]
        unseen = (~np.isin(values[cut:], values[:cut])).mean()
        growth = vocabulary_growth(CountHistogram.from_counts(counts), rows, curve[rows - 1])
        betas[name] = growth.beta
        if name == "ip":
            assert unseen == pytest.approx(0.27, abs=0.005)
            assert growth.unseen_share == pytest.approx(unseen, abs=0.05)
            fresh = (curve[-1] - curve[cut - 1]) / (len(values) - cut)
            assert growth.new_value_share(len(values) - cut) == pytest.approx(fresh, rel=0.15)
    assert betas["ip"] == pytest.approx(0.67, abs=0.1)
    assert betas["app"] == pytest.approx(0.35, abs=0.05)
    assert betas["os"] == pytest.approx(0.19, abs=0.1)
    assert betas["channel"] == pytest.approx(0.14, abs=0.05)


def test_growth_round_trips_and_rejects_empty_columns():
    hist = CountHistogram([1, 3], [2, 1])
    growth = vocabulary_growth(hist, np.array([3, 5]), np.array([2, 3]), unseen_share=0.25)
    assert growth.ordered and growth.unseen_share == 0.25 and growth.distinct == 3
    assert VocabularyGrowth.from_dict(json.loads(json.dumps(growth.to_dict()))) == growth
    assert vocabulary_growth(hist).unseen_share == pytest.approx(2 / 5)
    assert vocabulary_growth(CountHistogram([1], [1])).beta == 1.0
    assert vocabulary_growth(CountHistogram([1], [1000])).beta == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one value"):
        vocabulary_growth(CountHistogram([], []))
    with pytest.raises(ValueError, match="both rows and distinct"):
        vocabulary_growth(hist, np.array([3, 5]))
