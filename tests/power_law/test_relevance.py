"""Bias-corrected mutual information."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.power_law import label_relevance

tables = st.lists(
    st.integers(0, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))),
    min_size=1,
    max_size=30,
)


@given(tables, st.randoms(use_true_random=False))
def test_bounds_symmetry_and_order(table, random):
    n, k = np.array(table).T
    value = label_relevance(n, k)
    assert 0 <= value <= 1
    assert label_relevance(n, n - k) == pytest.approx(value, abs=1e-9)
    random.shuffle(table)
    assert label_relevance(*np.array(table).T) == pytest.approx(value, abs=1e-9)


@given(tables, st.integers(0, 100))
def test_pooled_tail_is_one_more_value(table, tail):
    n, k = np.array(table).T
    pooled = label_relevance(n, k, 100, tail)
    assert pooled == label_relevance(np.append(n, 100), np.append(k, tail))


def test_plug_in_value_and_miller_madow_term_on_a_large_table():
    n, k = np.array([60_000, 40_000]), np.array([6_000, 8_000])
    joint = np.array([k, n - k]) / 1e5
    plug_in = (joint * np.log(joint / joint.sum(0) / joint.sum(1, keepdims=True))).sum()
    entropy = -(0.14 * np.log(0.14) + 0.86 * np.log(0.86))
    # Miller-Madow: (values - 1)(labels - 1) / 2N
    assert label_relevance(n, k) == pytest.approx((plug_in - 1 / 2e5) / entropy, rel=1e-7)


def test_determining_column_and_constant_label():
    assert label_relevance([5000, 5000], [0, 5000]) == pytest.approx(1, abs=1e-3)
    assert label_relevance([10, 20], [0, 0]) == 0
    assert label_relevance([10], [3]) == 0
    assert label_relevance([], []) == 0
    # every row its own value: the plug-in estimate would be 1
    assert label_relevance(np.ones(1000), np.arange(1000) % 10 == 0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("values", [2, 50, 5000, 50_000])
def test_noise_columns_are_irrelevant_at_any_cardinality(values):
    rng = np.random.default_rng(values)
    label = rng.random(100_000) < 0.02
    column = rng.integers(0, values, len(label))
    n = np.bincount(column, minlength=values)
    k = np.bincount(column, weights=label, minlength=values)
    assert label_relevance(n, k) < 0.015
    assert label_relevance(n, k, z=3) == 0


def test_informative_rare_values_survive_the_correction():
    rng = np.random.default_rng(0)
    rate = rng.beta(0.5, 4.5, 2000)
    n = np.full(2000, 20)
    assert label_relevance(n, rng.binomial(n, rate), z=2) > 0.1


def test_bad_input():
    with pytest.raises(ValueError, match="positives"):
        label_relevance([3], [4])
    with pytest.raises(ValueError, match="per count"):
        label_relevance([3, 4], [1])


def test_values_of_equal_counts_may_be_given_once():
    counts, positives, values = np.array([9, 9, 3]), np.array([4, 0, 3]), np.array([5, 7, 20])
    one_each = np.repeat(counts, values), np.repeat(positives, values)
    for z in (0.0, 2.0):
        assert label_relevance(counts, positives, 40, 3, z, values) == pytest.approx(
            label_relevance(*one_each, 40, 3, z), rel=1e-12
        )
