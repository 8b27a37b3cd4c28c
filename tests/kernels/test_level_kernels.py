"""Levels of 8 bits and layers on whole numbers, against Python's own numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spark_ctr.kernels import IntegerLinear, quantise

finite = st.floats(-(2.0**99), 2.0**99, width=32)
positive = st.floats(2.0**-99, 2.0**99, width=32)
zeros = st.integers(0, 255)


def level(x, inverse, zero):
    """One level by Python's rounding, which is half to even too; products are NumPy's."""
    product = float(np.float32(x) * np.float32(inverse))
    if not np.isfinite(product):
        return 255 if product > 0 else 0
    return min(max(round(product) + zero, 0), 255)


@settings(deadline=None)
@given(st.data(), st.integers(0, 4), st.integers(1, 9), zeros, st.booleans())
def test_levels_are_those_of_python(data, b, k, zero, one):
    x = data.draw(arrays(np.float32, (b, k), elements=finite))
    inverse = data.draw(arrays(np.float32, 1 if one else k, elements=positive))
    with np.errstate(over="ignore"):
        found = quantise(x, inverse, zero)
        wide = np.broadcast_to(inverse, k)
        expected = [[level(v, i, zero) for v, i in zip(row, wide, strict=True)] for row in x]
    assert found.dtype == np.uint8
    assert found.tolist() == expected


def test_levels_by_hand():
    x = np.array([[0.5, 1.5, -0.5, -1.5, 2.4, 1e30, -1e30, np.inf, -np.inf, np.nan]], np.float32)
    one = np.ones(1, np.float32)
    assert quantise(x, one, 0).tolist() == [[0, 2, 0, 0, 2, 255, 0, 255, 0, 0]]
    assert quantise(x, one, 128).tolist() == [[128, 130, 128, 126, 130, 255, 0, 255, 0, 0]]


def test_levels_keep_their_axes_and_leave_their_inputs():
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert quantise(x, np.ones(4, np.float32), 7).tolist() == (x.astype(int) + 7).tolist()
    assert x[0, 0, 0] == 0


def drawn_layer(n, k, seed):
    draw = np.random.default_rng(seed)
    index = draw.integers(-128, 128, (n, k)).astype(np.int8)
    scale, bias = draw.standard_normal((2, n)).astype(np.float32)
    return index, scale, bias


def expected_outputs(levels, index, scale, bias, zero):
    sums = (levels.astype(np.int64) - zero) @ index.astype(np.int64).T
    return sums.astype(np.float32) * scale + bias


@settings(deadline=None)
@given(
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([1, 2, 3, 63, 64, 65, 255, 513, 514, 515, 1030]),
    zeros,
    st.sampled_from(["any", "least", "most"]),
    st.integers(0, 2**32),
)
def test_layers_are_those_of_int64(b, n, k, zero, kind, seed):
    index, scale, bias = drawn_layer(n, k, seed)
    levels = np.random.default_rng(seed + 1).integers(0, 256, (b, k)).astype(np.uint8)
    if kind != "any":
        levels[:] = 0 if kind == "least" else 255
        index[:] = -128
    found = IntegerLinear(index, scale, bias, zero)(levels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected_outputs(levels, index, scale, bias, zero))


def test_the_widest_layer_is_exact():
    index = np.full((2, 1 << 15), -128, np.int8)
    index[1, -1] = 127
    one, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    levels = np.full((1, 1 << 15), 255, np.uint8)
    found = IntegerLinear(index, one, none, 0)(levels)
    np.testing.assert_array_equal(found, expected_outputs(levels, index, one, none, 0))


def test_more_inputs_are_refused():
    with pytest.raises(ValueError, match="at most 32768 inputs, got 32769"):
        IntegerLinear(np.zeros((1, 32769), np.int8), np.ones(1), np.ones(1), 0)
