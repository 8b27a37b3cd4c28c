"""Columns that determine one another are in one group, and chance groups none."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spark_ctr.tables import Inputs, Table
from spark_ctr.tables.column_groups import _Column, _taus, column_groups


def inputs_of(widths, numeric=()):
    names = "abcdefgh"
    return Inputs(
        tuple(Table(names[i], 1 << 20, 1, slots=slots) for i, slots in enumerate(widths)),
        tuple(numeric),
    )


def groups(*columns, numeric=(), threshold=0.9):
    ids = np.stack(columns, 1).astype(np.int32)
    numbers = np.stack(numeric, 1) if numeric else np.zeros((len(ids), 0), np.float32)
    inputs = inputs_of([1] * len(columns), [f"n{i}" for i in range(len(numeric))])
    return column_groups(ids, numbers, inputs, threshold)


sizes = st.integers(2, 40)
seeds = st.integers(0, 1000)


@given(sizes, sizes, seeds)
def test_a_function_of_a_column_is_in_its_group(values, images, seed):
    draw = np.random.default_rng(seed)
    a = draw.integers(values, size=800)
    b = draw.integers(images, size=values)[a]
    assume((b != np.bincount(b).argmax()).sum() >= 20)
    c = draw.integers(5, size=800)
    assert groups(a, b, c) == [["a", "b"], ["c"]]


@given(st.lists(st.integers(2, 300), min_size=2, max_size=5), seeds)
def test_independent_columns_are_alone(values, seed):
    draw = np.random.default_rng(seed)
    columns = [draw.integers(n, size=3000) for n in values]
    assert groups(*columns) == [[name] for name in "abcde"[: len(values)]]


@given(sizes, sizes, seeds)
def test_tau_counts_pairs_of_different_rows(values, images, seed):
    draw = np.random.default_rng(seed)
    a, b = draw.integers(values, size=120), draw.integers(images, size=120)
    assume(np.bincount(a).max() > 1 and (b != np.bincount(b).argmax()).sum() > 60)
    other = ~np.eye(120, dtype=bool)
    same_a, same_b = ((x[:, None] == x) & other for x in (a, b))
    within, base = (same_a & same_b).sum() / same_a.sum(), same_b.sum() / other.sum()
    assert _taus(_Column(a), _Column(b))[0] == pytest.approx((within - base) / (1 - base))


def test_tau_of_chance_is_zero_in_the_mean_for_any_number_of_values():
    for values in (3, 40, 900):
        taus = []
        for seed in range(200):
            draw = np.random.default_rng(seed)
            a, b = draw.integers(values, size=1000), draw.integers(4, size=1000)
            taus.append(_taus(_Column(a), _Column(b))[0])
        assert abs(np.mean(taus)) < 4 * np.std(taus) / 200**0.5


@given(seeds)
def test_values_that_do_not_repeat_and_constants_say_nothing(seed):
    draw = np.random.default_rng(seed)
    unique, constant = draw.permutation(500), np.zeros(500)
    nearly = (np.arange(500) == 7).astype(int)
    coin = draw.integers(2, size=500)
    pairs = np.arange(500) // 2  # determines what it can by chance alone
    found = groups(unique, constant, nearly, coin, pairs)
    assert found == [["a"], ["b"], ["c"], ["d"], ["e"]]


@given(seeds, st.permutations(range(4)))
def test_names_of_codes_and_order_of_rows_change_nothing(seed, order):
    draw = np.random.default_rng(seed)
    a = draw.integers(30, size=600)
    columns = [a, a // 7, draw.integers(9, size=600), draw.integers(3, size=600)]
    rows = draw.permutation(600)
    coded = [draw.permutation(50)[x][rows] for x in columns]
    assert groups(*coded) == groups(*columns) == [["a", "b"], ["c"], ["d"]]
    moved = groups(*[columns[i] for i in order])
    named = [sorted("abcd"[order["abcd".index(n)]] for n in group) for group in moved]
    assert sorted(named) == [["a", "b"], ["c"], ["d"]]


def test_determining_goes_through_other_columns():
    draw = np.random.default_rng(0)
    left, right = draw.integers(12, size=2000), draw.integers(15, size=2000)
    both = left * 15 + right
    assert groups(left, right, both) == [["a", "b", "c"]]


def test_numbers_go_with_what_determines_them():
    draw = np.random.default_rng(1)
    item = draw.integers(50, size=3000)
    price = draw.normal(size=50)[item].astype(np.float32)
    age = draw.normal(size=3000).astype(np.float32)
    found = groups(item, numeric=(price, age, age * 3 + 1))
    assert found == [["a", "n0"], ["n1", "n2"]]


def test_ids_of_several_slots_are_one_value():
    draw = np.random.default_rng(2)
    lists = draw.integers(4, size=(2000, 2))
    ids = np.concatenate([lists, lists.sum(1, keepdims=True)], 1).astype(np.int32)
    none = np.zeros((2000, 0), np.float32)
    assert column_groups(ids, none, inputs_of([2, 1])) == [["a", "b"]]
    assert column_groups(ids, none, inputs_of([1, 1, 1])) == [["a"], ["b"], ["c"]]


def test_columns_of_one_name_are_one():
    ids, numeric = np.arange(40)[:, None] % 4, np.arange(40.0)[:, None] % 3
    inputs = Inputs((Table("age", 9, 1),), ("age",))
    assert column_groups(ids, numeric, inputs) == [["age"]]


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows_group_nothing(rows):
    column = np.arange(rows) % 2
    assert groups(column, column) == [["a"], ["b"]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"shapes \(5, 1\)"):
        column_groups(np.zeros((5, 1)), np.zeros((5, 0)), inputs_of([1, 1]))
    with pytest.raises(ValueError, match="threshold"):
        groups(np.zeros(5), np.zeros(5), threshold=0)
