"""Histogram, Hurwitz zeta and discrete fit against golden values and independent code."""

import json
import os
from pathlib import Path

import numpy as np
import powerlaw
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import zeta

from spark_ctr.power_law import CountHistogram, PowerLawFit, draw_zeta, fit_discrete
from spark_ctr.power_law.hurwitz import log_scaled_zeta, scaled_zeta
from spark_ctr.power_law.ks import closest_law

SHARED = Path(os.environ.get("SPARK_CTR_SHARED", Path(__file__).parents[3] / "shared"))
WORDS = SHARED / "data" / "powerlaw" / "words.txt"

counts_lists = st.lists(st.integers(1, 10_000), min_size=1, max_size=80)


def zeta_histogram(alpha, size, seed):
    return draw_zeta(alpha, 1, size, np.random.default_rng(seed))


@given(counts_lists)
def test_histogram_sums_and_round_trip(counts):
    hist = CountHistogram.from_counts(counts)
    assert hist.n == len(counts) and hist.total == sum(counts)
    cut = counts[0]
    assert hist.values_at_least(cut) == sum(c >= cut for c in counts)
    index = np.searchsorted(hist.values, cut)
    assert hist.tail_rows[index] == sum(c for c in counts if c >= cut)
    assert CountHistogram.from_dict(json.loads(json.dumps(hist.to_dict()))) == hist


@pytest.mark.parametrize(
    "values, multiplicities",
    [([0, 1], [1, 1]), ([2, 1], [1, 1]), ([1, 2], [1]), ([1.5], [1]), ([1], [0])],
)
def test_histogram_rejects_bad_input(values, multiplicities):
    with pytest.raises(ValueError, match="CountHistogram"):
        CountHistogram(values, multiplicities)


@given(st.floats(1.01, 40), st.integers(1, 5000))
def test_hurwitz_zeta_agrees_with_scipy(alpha, q):
    expected = zeta(alpha, q)
    if expected > 1e-250:
        value, slope, _ = log_scaled_zeta(alpha, q)
        assert np.log(scaled_zeta(alpha, q)) == pytest.approx(value, abs=1e-12)
        assert value - alpha * np.log(q) == pytest.approx(np.log(expected), abs=1e-8)
        step = 1e-5
        ahead, behind = log_scaled_zeta(alpha + step, q)[0], log_scaled_zeta(alpha - step, q)[0]
        assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-3, abs=1e-6)


@pytest.mark.skipif(not WORDS.exists(), reason="reference data set words.txt is not available")
def test_words_golden_values():
    fit = fit_discrete(CountHistogram.from_counts(np.loadtxt(WORDS).astype(np.int64)))
    # Clauset, Shalizi & Newman 2009, table 6.1: xmin 7, alpha 1.95(2), n_tail 2958
    assert (fit.xmin, fit.n_tail) == (7, 2958)
    assert fit.alpha == pytest.approx(1.9527, abs=5e-5)
    assert fit.ks_distance == pytest.approx(0.00825, abs=5e-6)
    assert fit.alpha_se == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("alpha", [1.5, 1.8, 2.5, 3.5])
def test_recovers_alpha_at_xmin_one_within_two_standard_errors(alpha):
    fit = fit_discrete(zeta_histogram(alpha, 20_000, seed=7), xmin=1)
    assert abs(fit.alpha - alpha) < 2 * fit.alpha_se
    assert fit.ks_distance < 0.02 and fit.acceptable()
    # numpy's own draws, which our sampler has no part in
    draws = np.random.default_rng(8).zipf(alpha, 20_000)
    fit = fit_discrete(CountHistogram.from_counts(draws[draws < 10**12]), xmin=1)
    assert abs(fit.alpha - alpha) < 2 * fit.alpha_se


@pytest.mark.parametrize("alpha, xmin", [(1.8, 1), (2.5, 1), (2.5, 3), (2.2, 12)])
def test_agrees_with_powerlaw_package_at_fixed_xmin(alpha, xmin):
    hist = zeta_histogram(alpha, 20_000, seed=3)
    data = np.repeat(hist.values, hist.multiplicities)
    fit = fit_discrete(hist, xmin=xmin)
    tail = data[data >= xmin]
    theirs = powerlaw.Fit(tail, discrete=True, xmin=xmin, estimate_discrete=False, verbose=0)
    assert fit.alpha == pytest.approx(theirs.power_law.alpha, abs=2e-4)
    assert fit.ks_distance == pytest.approx(theirs.power_law.D, abs=2e-4)
    expected = -len(tail) * np.log(zeta(fit.alpha, xmin)) - fit.alpha * np.log(tail).sum()
    assert fit.log_likelihood == pytest.approx(expected, rel=1e-9)


def test_finds_xmin_where_the_law_starts():
    rng = np.random.default_rng(1)
    law = rng.zipf(2.5, 200_000)
    counts = np.concatenate([law[(law >= 10) & (law < 10**9)], rng.integers(1, 10, 20_000)])
    fit = fit_discrete(CountHistogram.from_counts(counts))
    assert 9 <= fit.xmin <= 14
    assert abs(fit.alpha - 2.5) < 3 * fit.alpha_se


def test_geometric_candidates_agree_with_all_candidates():
    hist = zeta_histogram(1.9, 100_000, seed=2)
    assert len(hist.values) > 300
    few = fit_discrete(hist, max_candidates=50)
    every = fit_discrete(hist, max_candidates=10**6)
    assert every.ks_distance <= few.ks_distance < every.ks_distance + 0.005
    assert few.alpha == pytest.approx(every.alpha, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 1000))
def test_scaling_multiplicities_keeps_the_fit_and_shrinks_the_error(seed, factor):
    hist = zeta_histogram(2.0, 500, seed)
    scaled = CountHistogram(hist.values, hist.multiplicities * factor)
    one, many = fit_discrete(hist, xmin=1), fit_discrete(scaled, xmin=1)
    assert many.alpha == pytest.approx(one.alpha, abs=1e-7)
    assert many.ks_distance == pytest.approx(one.ks_distance, abs=1e-7)
    assert many.alpha_se == pytest.approx(one.alpha_se / np.sqrt(factor), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 1000), st.randoms(use_true_random=False))
def test_search_ignores_order_and_common_multiplicity(seed, factor, random):
    counts = np.random.default_rng(seed).zipf(1.9, 400).clip(max=10**9).tolist()
    fit = fit_discrete(CountHistogram.from_counts(counts), min_tail=2)
    hist = CountHistogram.from_counts(random.sample(counts, len(counts)))
    assert fit_discrete(hist, min_tail=2) == fit
    many = CountHistogram(hist.values, hist.multiplicities * factor)
    scaled = fit_discrete(many, min_tail=2 * factor)
    assert scaled.xmin == fit.xmin
    assert scaled.alpha == pytest.approx(fit.alpha, abs=1e-7)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(1.4, 3))
def test_search_finds_the_closest_of_all_candidates(seed, alpha):
    hist = zeta_histogram(alpha, 5000, seed)
    fit = fit_discrete(hist)
    every = (fit_discrete(hist, int(xmin)) for xmin in hist.values)
    best = min((other for other in every if other), key=lambda other: other.ks_distance)
    assert (fit.xmin, fit.ks_distance) == (best.xmin, pytest.approx(best.ks_distance, abs=1e-12))


def test_long_tails_are_pruned_without_changing_the_choice():
    rng = np.random.default_rng(0)
    tail_values = np.cumsum(rng.integers(1, 4, 20_000))[::-1]
    first = np.arange(0, 19_000, 100)
    positions = np.arange(20_000)
    slopes = rng.uniform(0.9, 1.1, len(first))

    def survival(k, j):
        return (1 - (j - first[k]) / (20_000 - first[k])) ** slopes[k]

    full = [
        np.abs(tail_values[j:] / tail_values[j] - survival(np.array([k]), positions[j:])).max()
        for k, j in enumerate(first)
    ]
    best, distance = closest_law(tail_values, first, survival)
    assert best == int(np.argmin(full)) and distance == pytest.approx(min(full), abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_mle_is_a_maximum(seed):
    hist = zeta_histogram(2.2, 300, seed)
    fit = fit_discrete(hist, xmin=2, min_tail=2)
    logs = hist.tail_logs[np.searchsorted(hist.values, 2)]
    for alpha in (fit.alpha - 0.01, fit.alpha + 0.01):
        other = -fit.n_tail * np.log(zeta(alpha, 2)) - alpha * logs
        assert other < fit.log_likelihood


def test_survival_is_a_tail_probability():
    fit = PowerLawFit(2.5, 0.1, 4, 0.01, 100, -1.0)
    assert fit.survival(4) == pytest.approx(1.0)
    x = np.arange(4, 200)
    np.testing.assert_allclose(fit.survival(x), zeta(2.5, x) / zeta(2.5, 4), rtol=1e-9)
    assert PowerLawFit.from_dict(json.loads(json.dumps(fit.to_dict()))) == fit


@pytest.mark.parametrize(
    "counts",
    [[], [3], [1] * 1000, [1] * 30 + [2] * 19, [10**6] * 500 + [10**6 + 1] * 500],
    ids=["empty", "one", "identifier", "49 values", "cliff"],
)
def test_no_fit_for_degenerate_columns(counts):
    hist = CountHistogram.from_counts(np.array(counts, dtype=np.int64))
    assert fit_discrete(hist) is None


def test_no_fit_above_a_fixed_xmin_without_tail():
    assert fit_discrete(zeta_histogram(2.0, 200, 0), xmin=10**8) is None
    with pytest.raises(ValueError, match="xmin >= 1"):
        fit_discrete(zeta_histogram(2.0, 200, 0), xmin=0)
