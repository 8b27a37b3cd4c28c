"""The perfect hash of slots."""

import numpy as np
import pytest

from spark_ctr.calibration_curves.placement import Placement


@pytest.mark.parametrize("count", [0, 1, 2, 5, 300, 10_000])
def test_every_key_has_a_place_of_its_own(count):
    rng = np.random.default_rng(count)
    keys = rng.integers(-(2**63), 2**63 - 1, count)
    found = Placement.of(keys)
    assert (found.keys[found.places(keys)] == keys).all()
    assert len(np.unique(found.places(keys))) == count <= len(found.keys) <= max(3 * count, 1)
    table = found.table(keys, np.arange(count) + 1.0)
    assert (table[found.places(keys)] == np.arange(count) + 1.0).all() and (
        table > 0
    ).sum() == count
    assert found.multipliers.max() < 2**31 and (found.multipliers > 0).all()


def test_keys_alike_in_their_high_bits_are_told_apart():
    keys = np.arange(40) + (12345 << 33)
    found = Placement.of(keys)
    assert len(np.unique(found.places(keys))) == 40
