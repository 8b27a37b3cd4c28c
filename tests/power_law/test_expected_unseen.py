"""The share of coming rows with a value never seen, against the rows that came."""

from math import comb

import numpy as np
import pyarrow.parquet as pq
import pytest

from spark_ctr.power_law import Counted, CountHistogram, column_growth, expected_unseen
from spark_ctr.power_law.counted import SLICES


def counted(values, parts=SLICES):
    """What the counting pass knows of a log in its order, and the rows of its parts."""
    part = np.arange(len(values)) * parts // len(values)
    _, first, rows = np.unique(values, return_index=True, return_counts=True)
    kinds, number = np.unique([rows, part[first]], axis=1, return_counts=True)
    none = np.zeros(len(number), np.int64)
    histogram = CountHistogram.from_counts(rows)
    return histogram, (
        Counted(none > 0, kinds[0], none, none, kinds[1], number),
        False,
        np.bincount(part, minlength=SLICES),
    )


def predicted(values, horizon=0.25):
    histogram, known = counted(values)
    return column_growth(histogram, *known, horizon).unseen_share


def split(values, share):
    """Return the unseen share predicted from the first rows, and that of the next quarter."""
    cut = int(share * len(values))
    seen, later = values[:cut], values[cut : cut + cut // 4]
    return predicted(seen), (~np.isin(later, seen)).mean()


def zipf(values, exponent, turnover, seed, rows=30_000):
    """Values of which a share is replaced by new ones in the course of the log."""
    drawn = np.random.default_rng(seed)
    weights = np.arange(1, values + 1.0) ** -exponent
    rank = drawn.choice(values, rows, p=weights / weights.sum())
    leaves = drawn.random(values) / max(turnover, 1e-9)
    return np.where(leaves[rank] < np.arange(rows) / rows, rank + values, rank)


@pytest.mark.parametrize("turnover", [0.0, 0.2, 0.5])
def test_held_back_tails_with_drift(turnover):
    both = np.array([split(zipf(20_000, 0.8, turnover, seed), 0.8) for seed in range(4)])
    assert both[:, 0].mean() == pytest.approx(both[:, 1].mean(), rel=0.08)


def test_without_an_order_drift_is_not_seen_and_with_one_it_is():
    log = zipf(5_000, 1.0, 0.5, 1)
    ordered, truth = split(log, 0.8)
    shuffled = expected_unseen(counted(log[:24_000])[0])
    assert shuffled < 0.75 * truth
    assert ordered == pytest.approx(truth, rel=0.25)


def test_held_back_tail_of_a_real_log(shared):
    columns = pq.read_table(shared / "data/talkingdata/clicks_first_80k.parquet")
    both = np.array([split(columns["ip"].to_numpy(), cut) for cut in np.arange(0.3, 0.81, 0.1)])
    # nights and days differ, so single tails do; on average the estimate is right
    assert both[:, 0] == pytest.approx(both[:, 1], rel=0.3)
    assert both[:, 0].mean() == pytest.approx(both[:, 1].mean(), rel=0.06)
    for name in ("app", "device", "os", "channel"):
        for cut in (0.5, 0.65, 0.8):
            found, truth = split(columns[name].to_numpy(), cut)
            assert found == pytest.approx(truth, abs=0.012)
    # the last fifth brought 0.27, as the log before it was shorter; 0.224 came in the next one
    assert predicted(columns["ip"].to_numpy()) == pytest.approx(0.224, abs=0.01)


def test_values_seen_once_and_the_exact_share_of_a_shuffled_tail():
    hist = CountHistogram([1, 2, 5], [6, 2, 2])  # 20 rows
    assert expected_unseen(hist) == 6 / 20
    # rows of values that are in the last 5 rows only, of all rows there
    shuffled = sum(v * c * comb(5, v) / comb(20, v) for v, c in [(1, 6), (2, 2), (5, 2)]) / 5
    assert expected_unseen(hist, 0.25, 0.25, shuffled) == pytest.approx(6 / 20)
    more = expected_unseen(hist, 0.25, 0.25, shuffled + 0.2)
    new = 0.2 / (1 - shuffled)
    assert more == pytest.approx(6 / 20 + (1 - 6 / 20) * new)
    # twice as far ahead, twice as much has changed
    further = expected_unseen(hist, 0.5, 0.25, shuffled + 0.2)
    assert further == pytest.approx(1 - (1 - 6 / 20) * (1 - new) ** 2)


@pytest.mark.parametrize(
    "values, wanted",
    [
        (np.arange(400), 1.0),  # every row its own value
        (np.arange(400) // 2, 1.0),  # values live for two rows
        (np.arange(400) % 7, 0.0),  # a closed set
        (np.zeros(400, int), 0.0),
        (np.zeros(1, int), 1.0),  # one row: all that is known is that its value was new
        (np.arange(3), 1.0),
    ],
)
def test_extreme_logs(values, wanted):
    assert predicted(values) == pytest.approx(wanted, abs=0.02)


def test_no_value_at_all_has_no_growth():
    empty = np.zeros(0, np.int64)
    nothing = Counted(empty > 0, empty, empty, empty, empty, empty)
    assert column_growth(CountHistogram([], []), nothing, False, np.zeros(SLICES)) is None


@pytest.mark.parametrize("parts", [[1], [0, 19], [3, 4, 19]])
def test_parts_of_unequal_size(parts):
    # ties leave parts empty: the rows that are in a part count, not a twentieth
    histogram, (kinds, _, _) = counted(zipf(2_000, 0.9, 0.0, 0))
    rows = np.zeros(SLICES, np.int64)
    rows[parts] = 30_000 // len(parts)
    growth = column_growth(histogram, kinds, False, rows)
    assert 0 <= growth.unseen_share <= 1 and 0 <= growth.beta <= 1
