"""Likelihood-ratio comparisons: direction, determinism, degenerate tails."""

import numpy as np
import pytest

from spark_ctr.power_law import (
    Comparison,
    CountHistogram,
    better_alternative,
    compare_alternatives,
    fit_discrete,
)

FAST = ("lognormal", "exponential", "stretched_exponential")


def test_power_law_beats_exponential_on_zeta_draws():
    draws = np.random.default_rng(0).zipf(2.5, 5000)
    hist = CountHistogram.from_counts(draws)
    comparisons, reason = compare_alternatives(hist, fit_discrete(hist, xmin=1), FAST)
    assert reason == "" and [c.name for c in comparisons] == list(FAST)
    exponential = comparisons[1]
    assert exponential.normalized_ratio > 2 and exponential.p_value < 0.05
    assert better_alternative(comparisons) is None


def test_exponential_beats_power_law_on_geometric_draws():
    hist = CountHistogram.from_counts(np.random.default_rng(0).geometric(0.1, 3000))
    comparisons, _ = compare_alternatives(hist, fit_discrete(hist, xmin=1), ("exponential",))
    assert better_alternative(comparisons) == "exponential"


def test_steep_law_is_fitted_beyond_the_default_range_of_the_package():
    draws = np.random.default_rng(0).zipf(4.5, 5000)
    hist = CountHistogram.from_counts(draws)
    comparisons, reason = compare_alternatives(hist, fit_discrete(hist, xmin=1), ("exponential",))
    # with alpha held at 3 the power law would lose to the exponential
    assert reason == "" and comparisons[0].normalized_ratio > 0


def test_all_four_alternatives_by_default():
    hist = CountHistogram.from_counts(np.random.default_rng(4).zipf(2.5, 300))
    comparisons, reason = compare_alternatives(hist, fit_discrete(hist, xmin=1))
    assert len(comparisons) + reason.count(";") + bool(reason) == 4
    assert {"lognormal", "exponential"} <= {c.name for c in comparisons}


def test_subsample_is_deterministic_and_silent(capsys, recwarn):
    draws = np.random.default_rng(0).zipf(2.5, 30_000)
    hist = CountHistogram.from_counts(draws[draws < 10**9])
    fit = fit_discrete(hist, xmin=1)
    first = compare_alternatives(hist, fit, ("exponential",), max_values=2000)
    assert first == compare_alternatives(hist, fit, ("exponential",), max_values=2000)
    assert capsys.readouterr() == ("", "") and not recwarn.list


def test_degenerate_input_gives_a_reason():
    hist = CountHistogram.from_counts([1] * 100)
    comparisons, reason = compare_alternatives(hist, fit_discrete(hist))
    assert comparisons == [] and "no power-law fit" in reason
    with pytest.raises(ValueError, match="unknown alternatives"):
        compare_alternatives(hist, None, ("normal",))


def test_two_distinct_counts_survive():
    hist = CountHistogram([1, 2], [900, 100])
    comparisons, reason = compare_alternatives(hist, fit_discrete(hist), FAST)
    assert len(comparisons) == len(FAST) or reason


def test_better_alternative_takes_the_most_significant():
    rows = [Comparison("a", -1.0, 0.09), Comparison("b", -3.0, 0.01), Comparison("c", -9.0, 0.5)]
    assert better_alternative(rows) == "b"
    assert better_alternative([Comparison("a", 3.0, 0.001)]) is None
    assert better_alternative([]) is None
