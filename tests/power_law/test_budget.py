"""Invariants of the selection rule."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.power_law import (
    ColumnStats,
    CountHistogram,
    embedding_dimension,
    fit_discrete,
    label_relevance,
    select_columns,
)


@st.composite
def column_sets(draw):
    columns = []
    for i in range(draw(st.integers(1, 6))):
        rng = np.random.default_rng(draw(st.integers(0, 10_000)))
        counts = rng.zipf(draw(st.sampled_from([1.3, 1.8, 2.5, 6.0])), draw(st.integers(1, 400)))
        hist = CountHistogram.from_counts(np.minimum(counts, 10**6))
        missing = draw(st.sampled_from([0, 9]))
        relevance = draw(st.sampled_from([None, 0.0, 0.3]))
        fit = fit_discrete(hist, max_candidates=10)
        columns.append(ColumnStats(f"c{i}", hist, missing, fit, relevance))
    return columns


@settings(max_examples=20, deadline=None)
@given(column_sets(), st.integers(0, 1500), st.integers(0, 300), st.randoms())
def test_budget_invariants(columns, extra, more, random):
    budget = 2 * len(columns) + extra
    decisions = select_columns(columns, budget)
    assert [d.name for d in decisions] == [c.name for c in columns]
    assert sum(d.rows for d in decisions) <= budget
    for column, d in zip(columns, decisions, strict=True):
        hist = column.histogram
        if d.decision == "drop":
            assert d.rows == 0 and d.dimension == 0 and d.reason
            continue
        assert d.buckets >= 1
        assert d.head_rows == hist.values_at_least(d.min_count)
        head = hist.values >= d.min_count
        kept = (hist.values * hist.multiplicities)[head].sum()
        assert d.coverage == pytest.approx(kept / hist.total)
        assert (d.decision == "keep_whole") == (d.head_rows == hist.n) == (d.coverage == 1)
        assert d.expected_collisions >= 0
        assert d.dimension in (4, 8, 12, 16)
    larger = select_columns(columns, budget + more)
    for small, large in zip(decisions, larger, strict=True):
        assert large.coverage >= small.coverage
    shuffled = list(columns)
    random.shuffle(shuffled)
    by_name = {d.name: d for d in select_columns(shuffled, budget)}
    assert [by_name[c.name] for c in columns] == decisions


def zipf_column(name, alpha, size, seed=0, **kwargs):
    draws = np.random.default_rng(seed).zipf(alpha, size)
    hist = CountHistogram.from_counts(draws[draws < 10**7])
    return ColumnStats(name, hist, fit=fit_discrete(hist), **kwargs)


def test_one_threshold_holds_for_all_large_columns():
    columns = [zipf_column("a", 1.8, 20_000), zipf_column("b", 2.2, 20_000)]
    a, b = select_columns(columns, 3000)
    assert a.decision == b.decision == "head_and_tail"
    shared = np.union1d(columns[0].histogram.values, columns[1].histogram.values)
    # no observed count lies strictly between the two cuts, beyond the one where budget ran out
    between = np.searchsorted(shared, [a.min_count, b.min_count])
    assert abs(int(between[0]) - int(between[1])) <= 1


def test_dropped_columns():
    one = ColumnStats("one", CountHistogram([500], [1]))
    ids = ColumnStats("ids", CountHistogram([1], [10**6]), relevance=0.5)
    weak = ColumnStats("weak", CountHistogram([10, 20], [5, 5]), relevance=1e-7)
    empty = ColumnStats("empty", CountHistogram.from_counts([]), missing=10)
    decisions = select_columns([one, ids, weak, empty], 0, min_relevance=1e-5)
    assert {d.decision for d in decisions} == {"drop"}
    assert "fewer than two" in decisions[0].reason and "own value" in decisions[1].reason
    assert "1e-07" in decisions[2].reason and "fewer than two" in decisions[3].reason
    # Useless alone, perhaps useful together with others: kept unless asked otherwise.
    assert select_columns([weak], 100)[0].decision == "keep_whole"


def test_columns_that_only_tell_together_are_kept():
    # The label is x xor y: of 500 rows with either value of x (or of y), 250 are clicked.
    relevance = label_relevance(np.array([500, 500]), np.array([250, 250]), 0, 0)
    assert relevance == 0
    inputs = [ColumnStats(n, CountHistogram([500], [2]), relevance=relevance) for n in "xy"]
    assert [d.decision for d in select_columns(inputs, 100)] == ["keep_whole"] * 2
    assert [d.decision for d in select_columns(inputs, 0, min_relevance=1e-5)] == ["drop"] * 2


def test_flag_with_missing_is_kept():
    (flag,) = select_columns([ColumnStats("flag", CountHistogram([500], [1]), missing=500)], 10)
    assert flag.decision == "keep_whole" and flag.rows == 3


def test_identifiers_with_missing_rows_get_one_bucket():
    ids = ColumnStats("ids", CountHistogram([1], [10**6]), missing=5)
    useful = zipf_column("useful", 1.8, 5000)
    alone, both = select_columns([useful], 2000), select_columns([useful, ids], 2002)
    assert (both[1].head_rows, both[1].buckets) == (0, 1)
    assert both[1].expected_collisions == 10**6 - 1
    assert both[0] == alone[0]


def test_small_column_is_kept_whole_with_its_rare_values():
    small = ColumnStats("os", CountHistogram([1, 50_000], [40, 10]))
    (d,) = select_columns([small], 100)
    assert (d.decision, d.head_rows, d.buckets, d.coverage) == ("keep_whole", 50, 1, 1.0)
    assert "small column" in d.reason and "no power-law fit" in d.reason


def test_fit_sizes_the_tail_only_when_acceptable():
    column = zipf_column("a", 1.8, 20_000)
    fitted, rejected = (select_columns([column], 1000, max_ks=ks)[0] for ks in (0.1, 1e-9))
    assert fitted.fit_accepted and "sizes the tail" in fitted.reason
    assert not rejected.fit_accepted and "rejected" in rejected.reason
    # on data from the law both estimates of the tail agree
    assert fitted.min_count == rejected.min_count
    assert fitted.expected_collisions == pytest.approx(rejected.expected_collisions, rel=0.05)
    assert fitted.expected_collisions != rejected.expected_collisions


def test_expected_collisions_match_simulation():
    (d,) = select_columns([zipf_column("a", 1.8, 5000)], 800, max_ks=0)
    tail = zipf_column("a", 1.8, 5000).histogram.n - d.head_rows
    rng = np.random.default_rng(0)
    used = [len(np.unique(rng.integers(0, d.buckets, tail))) for _ in range(200)]
    assert d.expected_collisions == pytest.approx(tail - np.mean(used), rel=0.01)


def test_errors_name_the_way_out():
    columns = [zipf_column("a", 2.0, 100), zipf_column("b", 2.0, 100)]
    with pytest.raises(ValueError, match="raise row_budget to 4"):
        select_columns(columns, 3)
    with pytest.raises(ValueError, match="names must differ"):
        select_columns([columns[0], columns[0]], 100)
    with pytest.raises(ValueError, match="tail_loading"):
        select_columns(columns, 100, tail_loading=0.5)


@given(st.integers(1, 10**8), st.integers(1, 10**8))
def test_dimension_grows_in_multiples_of_four(a, b):
    small, large = embedding_dimension(min(a, b)), embedding_dimension(max(a, b))
    assert 4 <= small <= large <= 16 and small % 4 == large % 4 == 0
