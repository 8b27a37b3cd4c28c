"""Indices of 4 bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import pack_index4, unpack_index4
from spark_ctr.kernels.index4 import HIGHEST, LOWEST, MOST_FACTOR


@pytest.mark.parametrize(
    ("index", "packed"),
    [
        ([[-8, 7, 0, 1]], [[15, 0x80, 0x9F]]),  # 0 and 8, 15 and 9: halves, not neighbours
        ([[-8, 7, 1]], [[15, 0x90, 0x0F]]),  # the last byte has one number
        ([[3]], [[15, 0x0B]]),
    ],
)
def test_packed_by_hand(index, packed):
    index = np.array(index, np.int8)
    found = pack_index4(index, np.array([15]))
    assert found.dtype == np.uint8 and found.tolist() == packed
    assert unpack_index4(found, index.shape[1]).tolist() == (15 * index.astype(int)).tolist()


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 9), st.integers(0, 33), st.integers(0, 2**32))
def test_unpacked_rows_are_what_was_packed(rows, dim, seed):
    draw = np.random.default_rng(seed)
    index = draw.integers(LOWEST, HIGHEST + 1, (rows, dim)).astype(np.int8)
    factor = draw.integers(1, MOST_FACTOR + 1, rows)
    packed = pack_index4(index, factor)
    assert packed.shape == (rows, 1 + (dim + 1) // 2)
    found = unpack_index4(packed, dim)
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found.astype(int), index.astype(int) * factor[:, None])
