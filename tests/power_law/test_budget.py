"""Invariants of the selection rule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.power_law import (
    ColumnStats,
    CountHistogram,
    JointRelevance,
    embedding_dimension,
    fit_discrete,
    joint_relevance,
    label_relevance,
    select_columns,
)


@st.composite
def column_sets(draw):
    columns = []
    number = draw(st.integers(1, 6))
    measured = draw(st.booleans())
    for i in range(number):
        rng = np.random.default_rng(draw(st.integers(0, 10_000)))
        counts = rng.zipf(draw(st.sampled_from([1.3, 1.8, 2.5, 6.0])), draw(st.integers(1, 400)))
        hist = CountHistogram.from_counts(np.minimum(counts, 10**6))
        missing = draw(st.sampled_from([0, 9]))
        relevance = draw(st.sampled_from([None, 0.0, 0.3]))
        fit = fit_discrete(hist, max_candidates=10)
        joint = JointRelevance(
            draw(st.sampled_from([0.0, 0.01, 0.5])),
            draw(st.sampled_from([None, *(f"c{j}" for j in range(number) if j != i)])),
            draw(st.sampled_from([0.0, 0.5])),
        )
        columns.append(ColumnStats(f"c{i}", hist, missing, fit, relevance, joint))
    if not measured:
        columns = [replace(c, joint=None) for c in columns]
    return columns


def cost(decision, unit):
    return decision.rows if unit == "rows" else 4 * decision.rows * decision.dim


@settings(max_examples=20, deadline=None)
@given(
    column_sets(),
    st.sampled_from(["rows", "bytes"]),
    st.integers(0, 1500),
    st.integers(0, 300),
    st.sampled_from([0.0, 4.0]),
    st.sampled_from([0.0, 0.3]),
    st.randoms(),
)
def test_budget_invariants(columns, unit, extra, more, tail_loading, min_gain, random):
    weight = 1 if unit == "rows" else 16
    budget, more = weight * (3 * len(columns) + extra), weight * more
    how = {"unit": unit, "tail_loading": tail_loading, "min_gain": min_gain}
    decisions = select_columns(columns, budget, **how)
    assert [d.name for d in decisions] == [c.name for c in columns]
    assert sum(cost(d, unit) for d in decisions) <= budget
    for column, d in zip(columns, decisions, strict=True):
        hist = column.histogram
        if d.decision == "drop":
            assert d.rows == 0 and d.dim == 0 and d.reason
            continue
        assert d.buckets >= 1 and (d.buckets == 1 or tail_loading > 0)
        assert d.private == hist.values_at_least(d.min_count)
        head = hist.values >= d.min_count
        kept = (hist.values * hist.multiplicities)[head].sum()
        assert d.coverage == pytest.approx(kept / hist.total)
        assert (d.decision == "keep_whole") == (d.private == hist.n) == (d.coverage == 1)
        assert d.expected_collisions >= 0
        assert d.dim in (4, 8, 12, 16)
    larger = select_columns(columns, budget + more, **how)
    for small, large in zip(decisions, larger, strict=True):
        assert large.coverage >= small.coverage
    shuffled = list(columns)
    random.shuffle(shuffled)
    by_name = {d.name: d for d in select_columns(shuffled, budget, **how)}
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
    x, y = np.repeat([0, 0, 1, 1], 250), np.tile([0, 1], 500)
    joint = joint_relevance({"x": x, "y": y}, x ^ y)
    inputs = [replace(column, joint=joint[column.name]) for column in inputs]
    # measured together, they survive the threshold that would drop each alone
    assert [d.decision for d in select_columns(inputs, 100, min_relevance=1e-5)] == [
        "keep_whole",
        "keep_whole",
    ]


def informative(name, share, partner=None, alone=0.0):
    column = zipf_column(name, 1.8, 20_000, relevance=alone)
    return replace(column, joint=JointRelevance(share, partner, 0.0))


def test_rows_go_where_the_label_information_is():
    silent, telling = informative("silent", 0.001), informative("telling", 0.1, alone=0.1)
    a, b = select_columns([silent, telling], 1000)
    assert b.private > 10 * a.private and b.coverage > a.coverage
    # counts alone know no difference between two columns of equal counts
    c, d = select_columns([replace(column, joint=None) for column in (silent, telling)], 1000)
    assert abs(c.private - d.private) <= 0.05 * d.private
    # nothing known about the label is the same as nothing measured
    dumb = [replace(column, joint=JointRelevance(0.0, None, 0.0)) for column in (silent, telling)]
    assert select_columns(dumb, 1000) == [c, d]
    # a column that cannot be paired, as one of arrays, counts for what it surely tells alone
    lone = replace(telling, joint=None, sure_relevance=0.09)
    assert select_columns([silent, lone], 1000)[1].private == b.private


def test_a_share_found_alone_counts_in_full():
    telling, rare = informative("telling", 0.1, alone=0.1), informative("rare", 0.1, alone=0.0)
    a, b = select_columns([telling, rare], 1000)
    assert a.min_count == pytest.approx(b.min_count, abs=1)


def test_what_a_column_adds_counts_as_far_as_its_partner_has_rows():
    item = informative("item", 0.1, alone=0.1)
    user = informative("user", 0.1, partner="item")
    shares = []
    for budget in (100, 1000, 8000):
        a, b = select_columns([item, user], budget)
        shares.append(b.private / (a.private + b.private))
    assert shares[0] < shares[1] < shares[2] <= 0.5


def test_values_that_would_learn_noise_get_no_row():
    telling, faint = informative("telling", 0.1, alone=0.1), informative("faint", 0.01, alone=0.01)
    decisions = select_columns([telling, faint], 10**6, min_gain=0.3)
    for d, share in zip(decisions, (0.1, 0.01), strict=True):
        floor = 0.003 * 0.1
        assert d.min_count * (share + floor) >= 0.3 > (d.min_count - 1) * (share + floor)
    all_rows = select_columns([telling, faint], 10**6, min_gain=0)
    assert all_rows[0].min_count == all_rows[1].min_count == 2
    # counts alone say nothing about noise
    counts = [replace(column, joint=None) for column in (telling, faint)]
    assert {d.min_count for d in select_columns(counts, 10**6, min_gain=0.3)} == {2}


def test_noise_is_dropped_only_where_a_link_would_have_shown():
    useful = informative("useful", 0.1, alone=0.1)
    noise = zipf_column("noise", 1.8, 20_000, relevance=0.0)
    seen = replace(noise, joint=JointRelevance(0.0, None, 0.4, detectable=0.01))
    small = replace(noise, joint=JointRelevance(0.0, None, 0.4, detectable=0.1))
    sure = replace(seen, relevance=1e-4, sure_relevance=1e-5)

    def decision(column, **how):
        return select_columns([useful, column], 100, **how)[1]

    assert [decision(c).decision for c in (seen, small, sure)] == ["drop", *["head_and_tail"] * 2]
    assert "p-value 0.4" in decision(seen).reason
    assert decision(seen, max_p_value=1).decision == "head_and_tail"
    # where nothing shows at all, there is no other column to prefer
    assert select_columns([seen], 100)[0].decision == "head_and_tail"


def test_a_copy_is_dropped_and_the_first_by_name_stays():
    def column(name, *copies, missing=0):
        hist = CountHistogram([100, 200], [2, 2])
        return ColumnStats(name, hist, missing, None, 0.1, JointRelevance(0.1, None, 0, 0, copies))

    trio = [column("c", "a", "b"), column("a", "b", "c"), column("b", "a", "c")]
    decisions = {d.name: d for d in select_columns(trio, 100)}
    assert [decisions[n].decision for n in "abc"] == ["keep_whole", "drop", "drop"]
    assert "repeats column 'a'" in decisions["c"].reason
    # in the sample they went one to one, in the whole log they do not
    differ = [column("a", "b"), column("b", "a", missing=7)]
    assert {d.decision for d in select_columns(differ, 100)} == {"keep_whole"}


def test_bytes_pay_for_the_dimension():
    columns = [zipf_column("a", 1.8, 20_000)]
    (narrow,) = select_columns(columns, 20_000, unit="bytes", dimension_scale=1)
    (wide,) = select_columns(columns, 20_000, unit="bytes", dimension_scale=4)
    assert wide.dim > narrow.dim and wide.rows < narrow.rows
    for d in (narrow, wide):
        assert 16_000 < 4 * d.rows * d.dim <= 20_000


def test_flag_with_missing_is_kept():
    (flag,) = select_columns([ColumnStats("flag", CountHistogram([500], [1]), missing=500)], 10)
    assert flag.decision == "keep_whole" and flag.rows == 3


def test_identifiers_with_missing_rows_get_one_bucket():
    ids = ColumnStats("ids", CountHistogram([1], [10**6]), missing=5)
    useful = zipf_column("useful", 1.8, 5000)
    alone, both = select_columns([useful], 2000), select_columns([useful, ids], 2002)
    assert (both[1].private, both[1].buckets) == (0, 1)
    assert both[1].expected_collisions == 10**6 - 1
    assert both[0] == alone[0]


def test_small_column_is_kept_whole_with_its_rare_values():
    small = ColumnStats("os", CountHistogram([1, 50_000], [40, 10]))
    (d,) = select_columns([small], 100)
    assert (d.decision, d.private, d.buckets, d.coverage) == ("keep_whole", 50, 1, 1.0)
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
    tail = zipf_column("a", 1.8, 5000).histogram.n - d.private
    rng = np.random.default_rng(0)
    used = [len(np.unique(rng.integers(0, d.buckets, tail))) for _ in range(200)]
    assert d.expected_collisions == pytest.approx(tail - np.mean(used), rel=0.01)


def test_errors_name_the_way_out():
    columns = [zipf_column("a", 2.0, 100), zipf_column("b", 2.0, 100)]
    with pytest.raises(ValueError, match="raise it to 4"):
        select_columns(columns, 3)
    with pytest.raises(ValueError, match="names must differ"):
        select_columns([columns[0], columns[0]], 100)
    with pytest.raises(ValueError, match="tail_loading"):
        select_columns(columns, 100, tail_loading=0.5)
    with pytest.raises(ValueError, match="min_gain"):
        select_columns(columns, 100, min_gain=-1.0)
    with pytest.raises(ValueError, match="unit must be"):
        select_columns(columns, 100, unit="pages")


@given(st.integers(1, 10**8), st.integers(1, 10**8))
def test_dimension_grows_in_multiples_of_four(a, b):
    small, large = embedding_dimension(min(a, b)), embedding_dimension(max(a, b))
    assert 4 <= small <= large <= 16 and small % 4 == large % 4 == 0
