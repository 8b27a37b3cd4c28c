"""Where nothing could have been seen, nothing is decided."""

import math
from dataclasses import replace

import numpy as np
import pytest

from spark_ctr.power_law import (
    ColumnStats,
    Counted,
    CountHistogram,
    JointRelevance,
    PowerLawFit,
    bootstrap_test,
    column_stats,
    fit_continuous,
    joint_relevance,
    label_relevance,
    plot_ccdf,
    select_columns,
)


def column(name, joint, **kwargs):
    hist = CountHistogram([100, 300], [20, 10])
    return ColumnStats(name, hist, relevance=0.0, sure_relevance=0.0, joint=joint, **kwargs)


SEEN = JointRelevance(0.1, None, 0.0, detectable=0.001)


def decision(joint, **how):
    useful = replace(column("useful", SEEN), relevance=0.1, sure_relevance=0.09)
    return select_columns([useful, column("asked", joint)], 1000, **how)[1]


rng = np.random.default_rng(0)
CODES = rng.integers(0, 20, 2000)
SAMPLES = {
    "no clicks": (CODES, np.zeros(2000)),
    "only clicks": (CODES, np.ones(2000)),
    "no rows": (CODES[:0], np.zeros(0)),
    "one row": (CODES[:1], np.ones(1)),
    "one value": (np.zeros(2000, int), rng.integers(0, 2, 2000)),
    "no value twice": (np.arange(2000), rng.integers(0, 2, 2000)),
}


@pytest.mark.parametrize("case", SAMPLES)
def test_a_sample_that_can_show_nothing_drops_nothing(case):
    codes, label = SAMPLES[case]
    found = joint_relevance({"asked": codes, "other": codes, "more": codes % 3}, label)["asked"]
    assert found.share == 0.0 and found.p_value > 0.9 and found.detectable == 1.0
    for how in ({}, {"min_relevance": 0.01}):
        kept = decision(replace(found, copies=()), **how)
        assert kept.decision == "keep_whole"
        assert "not decided whether it tells anything" in kept.reason


def test_one_value_or_none_is_no_copy():
    label = rng.integers(0, 2, 2000)
    for codes in (np.zeros(2000, int), CODES[:0]):
        found = joint_relevance({"a": codes, "b": codes + 1}, label[: len(codes)])
        assert found["a"].copies == found["b"].copies == ()


def test_few_clicks_are_not_enough_to_drop_a_column():
    # 20 clicks of 10,000 rows: chance explains less than 2 % of the label, but so does much else
    label = np.zeros(10_000)
    label[::500] = 1
    found = joint_relevance({"asked": rng.integers(0, 20, 10_000)}, label)["asked"]
    assert found.p_value > 0.01 and found.detectable < 0.02
    assert decision(found).decision != "drop"
    # as much chance at even labels, where effects explain more of them
    even = replace(found, variance=0.25)
    assert decision(even).decision == "drop"


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_useless_columns_are_dropped_where_enough_clicks_are_seen(rate):
    label = rng.random(200_000) < rate
    found = joint_relevance({"asked": rng.integers(0, 20, 200_000)}, label)["asked"]
    assert decision(found).decision == "drop"


def test_a_constant_beside_noise_does_not_take_the_last_column():
    noise = JointRelevance(0.0, None, 0.5, detectable=0.001)
    constant = ColumnStats("constant", CountHistogram([500], [1]), joint=noise)
    decisions = select_columns([constant, column("noise", noise)], 100)
    assert [d.decision for d in decisions] == ["drop", "keep_whole"]


def test_what_may_be_in_a_column_decides_what_is_given_up():
    hist = CountHistogram([2, 5, 50, 500], [200, 100, 10, 1])
    noise = JointRelevance(0.0, None, 0.5, detectable=0.9)
    asked = ColumnStats("asked", hist, 0, None, 0.0, noise, 0.0, possible_relevance=0.01)
    useful = replace(column("useful", SEEN), relevance=0.1, sure_relevance=0.09)
    cuts = []
    for possible in (0.0, 0.0025, 0.025):
        told = replace(asked, possible_relevance=possible)
        cuts.append(select_columns([useful, told], 1000)[1].min_count)
    assert cuts == [500, 50, 5]
    # where rows are scarce, what is known goes first
    assert select_columns([useful, asked], 34)[0].decision == "keep_whole"


def test_a_column_without_a_private_row_is_reduced_to_nothing():
    hist = CountHistogram([2, 3], [400, 200])
    poor = ColumnStats("poor", hist, 0, None, 0.001, JointRelevance(0.001, None, 0.0), 0.0005)
    useful = replace(column("useful", SEEN), relevance=0.1, sure_relevance=0.09)
    dropped = select_columns([useful, poor], 1000)[1]
    assert dropped.decision == "drop" and dropped.rows == 0
    assert "reduced to nothing" in dropped.reason
    # a missing value still says something, and a log needs a column
    assert select_columns([useful, replace(poor, missing=9)], 1000)[1].rows == 2
    assert select_columns([replace(poor, relevance=0.0)], 2)[0].decision == "head_and_tail"


def test_labels_of_one_class_measure_no_relevance():
    one, rows = np.ones(2, np.int64), np.array([30, 70])
    for positives in (np.zeros(2, np.int64), rows):
        counted = Counted(np.zeros(2, bool), rows, rows, positives, np.zeros(2, np.int64), one)
        stats = column_stats("a", counted, 2, False, None)
        assert stats.relevance is stats.sure_relevance is stats.possible_relevance is None
        assert select_columns([stats], 10, min_relevance=0.5)[0].decision == "keep_whole"


def test_what_a_column_may_tell_shrinks_as_rows_come():
    rows, clicks = np.arange(40, 80), np.arange(40) % 3
    most = [label_relevance(rows * n, clicks * n, z=-2.0) for n in (1, 10)]
    told = [label_relevance(rows * n, clicks * n) for n in (1, 10)]
    assert most[0] - told[0] > 2 * (most[1] - told[1]) > 0


def test_no_set_that_can_be_fitted_gives_no_p_value():
    hist = CountHistogram([1, 2], [30, 20])
    law = PowerLawFit(2.5, 0.2, 1, 0.05, 50, -40.0)
    tested = bootstrap_test(hist, law, precision=0.5, min_tail=51)
    assert math.isnan(tested.p_value) and tested.sets == 0


def test_values_that_differ_by_round_off_alone_have_no_law():
    values = np.repeat([1e300, np.nextafter(1e300, 2e300)], 50)
    assert fit_continuous(values) is None


def test_a_column_without_values_cannot_be_drawn():
    with pytest.raises(ValueError, match="at least one value"):
        plot_ccdf(CountHistogram([], []))
