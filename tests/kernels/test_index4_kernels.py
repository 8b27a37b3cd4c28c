"""Rows of 4 bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import pack_index4, unpack_index4
from spark_ctr.kernels.index4 import MOST_FACTOR, MOST_NIBBLE, row_bytes


@pytest.mark.parametrize(
    ("nibbles", "packed", "index"),
    [
        # Halves, not neighbours, share a byte.
        ([[0, 15, 7, 8]], [[8, 0x70, 0x8F]], [[-120, 120, -8, 8]]),
        # The last byte has one number.
        ([[0, 15, 9]], [[1, 0x90, 0x0F]], [[-15, 15, 3]]),
        ([[11]], [[3, 0x0B]], [[21]]),
    ],
)
def test_packed_by_hand(nibbles, packed, index):
    nibbles = np.array(nibbles)
    found = pack_index4(nibbles, np.array([packed[0][0]]))
    assert found.dtype == np.uint8 and found.tolist() == packed
    assert unpack_index4(found, nibbles.shape[1]).tolist() == index


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 9), st.integers(0, 33), st.integers(0, 2**32))
def test_unpacked_rows_are_what_was_packed(rows, dim, seed):
    draw = np.random.default_rng(seed)
    nibbles = draw.integers(0, MOST_NIBBLE + 1, (rows, dim))
    factor = draw.integers(1, MOST_FACTOR + 1, rows)
    packed = pack_index4(nibbles, factor)
    assert packed.shape == (rows, row_bytes(dim))
    found = unpack_index4(packed, dim)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found.astype(int), (2 * nibbles - 15) * factor[:, None])
