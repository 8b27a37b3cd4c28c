"""Layers on 8-bit indices."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import Index8Linear, index8_values


def test_values_by_hand():
    values = index8_values(
        np.array([[-128, 127], [0, -128]], np.int8), np.float32(2), np.float32(-5)
    )
    assert values.dtype == np.float32
    assert values.tolist() == [[-5, 505], [251, -5]]


def test_stacked_tables_have_their_own_maps():
    rows = np.array([[[-128], [-128]], [[-127], [-126]]], np.int8)
    values = index8_values(rows, np.array([[1], [10]]), np.array([[0], [3]]))
    assert values[..., 0].tolist() == [[0, 3], [1, 23]]


def test_linear_by_hand():
    weight = np.array([[-128, -127], [-126, -128]], np.int8)  # values [[1, 3], [5, 1]]
    x = np.array([[1, 2], [0, -1]], np.float32)
    bias = np.array([0.5, -0.5], np.float32)
    one = np.float32(2), np.float32(1)
    assert Index8Linear(weight, *one, bias)(x).tolist() == [[7.5, 6.5], [-2.5, -1.5]]
    assert Index8Linear(weight, *one)(x).tolist() == [[7, 7], [-3, -1]]
    each = np.array([2, 4], np.float32), np.array([1, -1], np.float32)
    assert Index8Linear(weight, *each)(x).tolist() == [[7, 5], [-3, 1]]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 90), st.integers(0, 2**32))
def test_linear_is_within_its_bound_of_the_exact_product(b, n, k, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((b, k)).astype(np.float32)
    weight = rng.integers(-128, 128, (n, k), dtype=np.int8)
    scale, minimum = np.float32(rng.uniform(0, 0.1)), np.float32(rng.normal())
    values = (weight.astype(np.float64) + 128) * scale + minimum
    exact = x.astype(np.float64) @ values.T
    index = weight.astype(np.float64) * scale
    offset = abs(minimum + 128.0 * scale)
    # the bound of the docstring, on the two products that are added
    size = np.abs(x).astype(np.float64) @ (np.abs(index) + offset).T
    outputs = Index8Linear(weight, scale, minimum)(x)
    assert (np.abs(outputs - exact) <= (k + 4) * 2.0**-23 * size).all()
