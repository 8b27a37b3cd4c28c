"""Sign packing and products of packed signs."""

import logging
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spark_ctr.kernels import BinaryLinear, SignMatrix, pack_signs, simd, unpack_signs

HAS_NUMKONG = simd.simd() is not None
shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 300))


@pytest.fixture
def without_numkong(monkeypatch):
    """Make numkong impossible to import, as where it is not installed."""
    monkeypatch.setitem(sys.modules, "numkong", None)
    simd.simd.cache_clear()
    yield
    simd.simd.cache_clear()


def draw(shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    x[x > 1.5] = 0.0
    return x


def test_pack_signs_by_hand():
    x = np.array([[1.0, -1.0, 2.0, 0.0, -0.0, 0.5, -3.0, 1e-30, 4.0, np.nan]], np.float32)
    # bits 0, 2, 5, 7 of the first byte, bit 0 of the second
    assert pack_signs(x).tolist() == [[0b10100101, 0b00000001]]


@given(arrays(np.float32, st.tuples(st.integers(0, 5), st.integers(1, 70))))
def test_unpacked_signs_are_those_packed(x):
    packed = pack_signs(x)
    assert packed.dtype == np.uint8 and packed.shape == (len(x), -(-x.shape[1] // 8))
    np.testing.assert_array_equal(unpack_signs(packed, x.shape[1]), np.where(x > 0, 1.0, -1.0))


def test_product_by_hand():
    x = pack_signs(np.array([[1, 1, -1], [-1, -1, -1]]))
    w = pack_signs(np.array([[1, 1, -1], [1, -1, 1]]))
    assert SignMatrix(w, 3).product(x).tolist() == [[3, -1], [-1, -1]]


@settings(deadline=None)
@given(shapes, st.integers(0, 2**32))
def test_product_equals_the_float_product(shape, seed):
    b, n, k = shape
    x, w = draw((b, k), seed), draw((n, k), seed + 1)
    dots = SignMatrix(pack_signs(w), k).product(pack_signs(x))
    assert dots.dtype == np.float32
    expected = np.where(x > 0, 1, -1) @ np.where(w > 0, 1, -1).T
    np.testing.assert_array_equal(dots, expected)


@pytest.mark.skipif(not HAS_NUMKONG, reason="numkong is not installed")
@pytest.mark.parametrize("k", [1, 7, 63, 64, 65, 255, 511, 513, 1000, 2049])
def test_numkong_and_numpy_are_bit_identical(k, without_numkong):
    x, w = draw((1500, k), k), draw((67, k), k + 1)
    scale, bias = draw(67, k + 2), draw(67, k + 3)
    slow = BinaryLinear(pack_signs(w), k, scale, bias)(x)
    assert simd.simd() is None
    sys.modules.pop("numkong")
    simd.simd.cache_clear()
    fast = BinaryLinear(pack_signs(w), k, scale, bias)(x)
    assert simd.simd() is not None
    np.testing.assert_array_equal(fast, slow)


def test_inputs_of_another_number_of_signs_are_refused():
    matrix = SignMatrix(pack_signs(np.ones((2, 16))), 16)
    with pytest.raises(ValueError, match="packed_x"):
        matrix.product(pack_signs(np.ones((2, 17))))


def test_products_without_numkong(without_numkong):
    x, w = draw((1500, 77), 0), draw((8, 77), 1)
    expected = np.where(x > 0, 1, -1) @ np.where(w > 0, 1, -1).T
    dots = SignMatrix(pack_signs(w), 77).product(pack_signs(x))
    np.testing.assert_array_equal(dots, expected)


def test_missing_numkong_is_said_once(without_numkong, caplog):
    packed = pack_signs(np.ones((2, 5)))
    with caplog.at_level(logging.WARNING, logger="spark_ctr"):
        for _ in range(3):
            assert SignMatrix(packed, 5).product(packed).tolist() == [[5, 5], [5, 5]]
    assert [record.message.split(" (")[0] for record in caplog.records] == [
        "numkong cannot be imported"
    ]


def test_product_of_no_rows():
    w = pack_signs(np.ones((4, 5)))
    assert SignMatrix(w, 5).product(w[:0]).shape == (0, 4)


def test_product_takes_strided_inputs():
    x, w = draw((6, 40), 0), draw((8, 40), 1)
    dots = SignMatrix(pack_signs(w)[::-1], 40).product(pack_signs(x)[::2])
    expected = np.where(x > 0, 1, -1)[::2] @ np.where(w > 0, 1, -1)[::-1].T
    np.testing.assert_array_equal(dots, expected)


@pytest.mark.parametrize("k", [0, 8, 17])
def test_product_refuses_another_number_of_signs(k):
    packed = pack_signs(np.ones((2, 16)))
    with pytest.raises(ValueError, match="pack_signs"):
        SignMatrix(packed, k)


def test_packed_signs_must_be_bytes():
    with pytest.raises(ValueError, match="uint8"):
        unpack_signs(np.ones((2, 2), np.int64), 16)


def test_a_packed_layer_is_32_times_smaller():
    w = draw((128, 256), 0)
    assert w.nbytes == 32 * pack_signs(w).nbytes
