"""Sums by slot and score bin."""

import numpy as np
import pytest

from spark_ctr.calibration_curves import ScoreBins, SlotStatistics
from spark_ctr.calibration_curves.statistics import SUMS

rng = np.random.default_rng(3)
P, SLOT, W = rng.beta(1, 20, 500), rng.integers(0, 7, 500) * 11, rng.integers(0, 3, 500)
Y = (rng.random(500) < P).astype(float)


def test_bins_are_equal_in_log_odds():
    bins = ScoreBins(64)
    assert list(bins.of([0.0, 1e-9, 0.5, 0.5 + 1e-9, 1.0])) == [0, 0, 32, 32, 63]
    assert bins.of(1 / (1 + np.exp(-0.51))) == 33 and bins.of(1 / (1 + np.exp(-0.49))) == 32


def test_cells_are_the_sums_of_their_rows():
    found = SlotStatistics.of_rows(P, Y, SLOT, W, bins=32)
    assert list(found.keys) == [0, 11, 22, 33, 44, 55, 66]
    for cell in range(0, len(found.bin), 5):
        rows = (found.keys[found.slot[cell]] == SLOT) & (ScoreBins(32).of(P) == found.bin[cell])
        sums = rows.sum(), W[rows].sum(), (W * Y)[rows].sum(), (W * P)[rows].sum()
        assert [getattr(found, name)[cell] for name in SUMS] == pytest.approx(sums)
    assert found.by_slot(found.clicks) == pytest.approx(
        [(W * Y)[key == SLOT].sum() for key in found.keys]
    )
    assert found.by_bin().clicks.sum() == (W * Y).sum() and found.squares == (W**2).sum()
    assert (found.weighted().weight > 0).all() and found.weighted().slots == 7


def test_merging_all_is_summing_all():
    few = SLOT < 30
    one, other = (SlotStatistics.of_rows(P[k], Y[k], SLOT[k], W[k]) for k in (few, P > 0.05))
    both = SlotStatistics.of_rows(*(np.concatenate([v[few], v[P > 0.05]]) for v in (P, Y, SLOT, W)))
    found = one.merged(other, 1.0)
    for name in ("keys", "slot", "bin", *SUMS, "squares"):
        assert getattr(found, name) == pytest.approx(getattr(both, name)), name


def test_forgetting_fades_rows_and_slots():
    early, late = SlotStatistics.of_rows(P, Y, SLOT), SlotStatistics.of_rows(P[:9], Y[:9])
    found = late.merged(early, 0.25)
    assert found.rows.sum() == pytest.approx(9 + 125) and found.slots == 7
    assert found.evidence == pytest.approx((9 + 125) / (9 + 500 / 16))
    most = early.by_slot(early.rows).max()
    faded = early.without_faded(most)
    assert faded.slots == (early.by_slot(early.rows) == most).sum()
    assert faded.rows.sum() == 500 and faded.by_slot(faded.rows)[0] == most
    with pytest.raises(ValueError, match="128 score bins, these 64"):
        SlotStatistics.of_rows(P, Y, bins=64).merged(early, 1.0)
