"""What columns say about the label together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.power_law import joint_relevance


def log(rows, seed=0, **columns):
    """Columns of uniform codes, with numpy's generator."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(0, size, rows) for name, size in columns.items()}, rng


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 200), st.integers(1, 50), st.randoms())
def test_bounds_and_order(seed, rows, size, random):
    columns, rng = log(rows, seed, a=size, b=2, c=rows)
    label = rng.random(rows) < 0.3
    found = joint_relevance(columns, label)
    for one in found.values():
        assert 0 <= one.share <= 1 and 0 <= one.p_value <= 1 and one.detectable >= 0
    names = list(columns)
    random.shuffle(names)
    order = rng.permutation(rows)
    # hashes do as codes, rows and columns may come in any order
    again = joint_relevance({n: (columns[n] * 7919 + 3)[order] for n in names}, label[order])
    for name, one in found.items():
        assert again[name].share == pytest.approx(one.share, abs=1e-9)
        assert again[name].p_value == pytest.approx(one.p_value, abs=1e-6)
        assert again[name].copies == one.copies


def test_exclusive_or_tells_only_together():
    columns, _ = log(2000, x=2, y=2, noise=2)
    found = joint_relevance(columns, columns["x"] ^ columns["y"])
    assert found["x"].partner == "y" and found["y"].partner == "x"
    assert found["x"].share == pytest.approx(1, abs=0.01)
    assert found["x"].p_value < 1e-100
    assert found["noise"].share == 0 and found["noise"].p_value > 0.01


def test_share_is_the_explained_variance():
    columns, rng = log(200_000, a=20, b=300)
    rate = 0.1 + 0.01 * columns["a"]
    found = joint_relevance(columns, rng.random(len(rate)) < rate)
    # between-value variance of the rates over the label's
    truth = rate.var() / (rate.mean() * (1 - rate.mean()))
    assert found["a"].share == pytest.approx(truth, rel=0.1)
    assert found["b"].share == 0


def test_a_column_adds_nothing_to_one_that_fixes_it():
    columns, rng = log(20_000, city=200)
    columns["country"] = columns["city"] // 20
    label = rng.random(20_000) < 0.05 + 0.04 * columns["country"]
    found = joint_relevance(columns, label)
    assert found["country"].partner is None and found["city"].partner is None
    assert found["country"].copies == found["city"].copies == ()


@pytest.mark.parametrize("rate", [0.003, 0.3])
def test_p_values_of_noise_are_no_smaller_than_they_say(rate):
    lowest = []
    for seed in range(60):
        columns, rng = log(4000, seed, a=2, b=30, c=1500)
        lowest += [j.p_value for j in joint_relevance(columns, rng.random(4000) < rate).values()]
    for level in (0.01, 0.1):
        assert np.mean(np.array(lowest) <= level) <= 2 * level + 0.01


def test_identifiers_are_not_mistaken_for_information():
    columns, rng = log(5000, a=10)
    columns["id"] = np.arange(5000)
    found = joint_relevance(columns, rng.random(5000) < 0.2)
    assert found["id"].share == 0 and found["id"].p_value > 0.1


def test_copies_go_one_to_one():
    columns, rng = log(1000, a=10, other=10)
    columns["b"] = 9 - columns["a"]
    columns["ids"] = np.arange(1000)
    columns["more ids"] = np.arange(1000)[::-1]
    found = joint_relevance(columns, rng.random(1000) < 0.5)
    assert found["a"].copies == ("b",) and found["b"].copies == ("a",)
    # each row its own value: one to one with anything like it, so that says nothing
    assert found["other"].copies == found["ids"].copies == ()


def test_detectable_share_is_detected():
    columns, rng = log(20_000, a=500)
    bound = joint_relevance(columns, rng.random(20_000) < 0.2)["a"].detectable
    effect = rng.standard_normal(500)[columns["a"]] * np.sqrt(bound * 0.2 * 0.8)
    seen = [
        joint_relevance(columns, rng.random(20_000) < np.clip(0.2 + effect, 0, 1))["a"].share > 0
        for _ in range(20)
    ]
    assert np.mean(seen) >= 0.6


def test_bad_and_empty_input():
    with pytest.raises(ValueError, match="labels 0 or 1"):
        joint_relevance({"a": np.zeros(2, int)}, np.array([0, 2]))
    with pytest.raises(ValueError, match="one code a row"):
        joint_relevance({"a": np.zeros(3, int)}, np.array([0, 1]))
    assert joint_relevance({}, np.array([])) == {}
    nothing = joint_relevance({"a": np.array([], int), "b": np.array([], int)}, np.array([]))
    assert nothing["a"].share == 0 and nothing["a"].p_value == 1
    one_class = joint_relevance({"a": np.arange(6) % 2, "b": np.arange(6) % 3}, np.ones(6))
    assert one_class["a"].share == 0 and one_class["a"].p_value == 1
