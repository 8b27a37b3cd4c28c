"""8-bit indices in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spark_ctr.kernels import index8_values
from spark_ctr.precision.index8 import index8_fake_quantise, index8_quantise, index8_scale

floats = st.floats(-1e6, 1e6, width=32)
weights = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=floats)


def test_quantisation_by_hand():
    weight = torch.tensor([-127.0, 100.4, 0.0, 0.5, 1.5, -0.6])
    scale = index8_scale(weight)
    assert scale.item() == 1.0
    index = index8_quantise(weight, scale)
    assert index.dtype == torch.int8
    assert index.tolist() == [-127, 100, 0, 0, 2, -1]  # half to even
    assert index8_fake_quantise(weight, scale).tolist() == [-127.0, 100.0, 0.0, 0.0, 2.0, -1.0]


@settings(deadline=None)
@given(weights, st.booleans())
def test_error_is_at_most_half_a_scale(array, by_output):
    weight = torch.from_numpy(array)
    scale = index8_scale(weight, by_output=by_output)
    assert scale.shape == ((len(array), 1) if by_output else ())
    values = index8_fake_quantise(weight, scale)
    top = np.abs(array).max(axis=1 if by_output else None, keepdims=by_output)
    # float32 rounding, and a scale that is a whole number of the smallest subnormal
    rounding = 8 * np.finfo(np.float32).eps * top + 128 * 1.5e-45
    assert (np.abs(values.double().numpy() - array) <= top / 254 + rounding).all()


@settings(deadline=None)
@given(weights)
def test_kernel_and_fake_quantisation_are_bit_identical(array):
    weight = torch.from_numpy(array)
    scale = index8_scale(weight)
    index = index8_quantise(weight, scale).numpy()
    kernel = index8_values(index, scale.numpy(), -128 * scale.numpy())
    np.testing.assert_array_equal(kernel, index8_fake_quantise(weight, scale).numpy())


def test_zeros_stay_zeros():
    weight = torch.zeros(3, 2)
    assert torch.equal(index8_fake_quantise(weight, index8_scale(weight)), weight)
    assert index8_quantise(weight, index8_scale(weight)).unique().tolist() == [0]


def test_what_lies_beyond_the_scale_is_clipped():
    weight = torch.tensor([500.0, -500.0])
    assert index8_quantise(weight, torch.tensor(1.0)).tolist() == [127, -127]


def test_a_subnormal_scale_stays_within_8_bits():
    smallest = 2.0**-149
    weight = torch.tensor([0.0, 190 * smallest])  # a scale of 1.496 is stored as 1
    scale = index8_scale(weight)
    assert scale.item() == smallest
    assert index8_quantise(weight, scale).tolist() == [0, 127]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        index8_scale(torch.tensor([0.0, bad]))


def test_gradient_passes_straight_through():
    weight = torch.tensor([[0.1, -0.7], [2.0, 0.3]], requires_grad=True)
    factors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    scale = index8_scale(weight, by_output=True)
    (index8_fake_quantise(weight, scale) * factors).sum().backward()
    assert torch.equal(weight.grad, factors)
