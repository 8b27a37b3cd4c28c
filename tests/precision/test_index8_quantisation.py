"""8-bit indices in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from spark_ctr.kernels import index8_embedding
from spark_ctr.precision.index8 import (
    index8_dequantise,
    index8_fake_quantise,
    index8_quantise,
    index8_range,
)

floats = st.floats(-1e6, 1e6, width=32)
weights = arrays(np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=floats)


def test_quantisation_by_hand():
    # min -1, max 254: step 1, so index = round(w + 1) - 128
    weight = torch.tensor([-1.0, 254.0, 0.0, 0.4, 0.6, 126.6])
    scale, minimum = index8_range(weight)
    assert (scale.item(), minimum.item()) == (1.0, -1.0)
    index = index8_quantise(weight, scale, minimum)
    assert index.dtype == torch.int8
    assert index.tolist() == [-128, 127, -127, -127, -126, 0]
    values = index8_dequantise(index, scale, minimum)
    assert values.tolist() == [-1.0, 254.0, 0.0, 0.0, 1.0, 127.0]


@settings(deadline=None)
@given(weights)
def test_error_is_at_most_half_a_step(array):
    weight = torch.from_numpy(array)
    scale, minimum = index8_range(weight)
    values = index8_fake_quantise(weight, scale, minimum)
    low, high = float(array.min()), float(array.max())
    # float32 rounding, and a step that is a whole number of the smallest subnormal
    rounding = 8 * np.finfo(np.float32).eps * max(abs(low), abs(high)) + 256 * 1.5e-45
    assert (values.double() - weight.double()).abs().max() <= (high - low) / 510 + rounding


@settings(deadline=None)
@given(weights)
def test_kernel_and_fake_quantisation_are_bit_identical(array):
    weight = torch.from_numpy(array)
    scale, minimum = index8_range(weight)
    index = index8_quantise(weight, scale, minimum).numpy()
    kernel = index8_embedding(index, scale.numpy(), minimum.numpy(), np.arange(len(index)))
    np.testing.assert_array_equal(kernel, index8_fake_quantise(weight, scale, minimum).numpy())


@pytest.mark.parametrize("value", [0.0, -3.25, 1e30, 1e-45])
def test_constant_tensors_are_exact(value):
    weight = torch.full((3, 2), value)
    scale, minimum = index8_range(weight)
    assert torch.equal(index8_fake_quantise(weight, scale, minimum), weight)
    assert index8_quantise(weight, scale, minimum).unique().tolist() == [-128]


def test_a_subnormal_range_stays_within_8_bits():
    smallest = 2.0**-149
    weight = torch.tensor([0.0, 382 * smallest])  # a step of 1.498 is stored as 1
    scale, minimum = index8_range(weight)
    assert scale.item() == smallest
    assert index8_quantise(weight, scale, minimum).tolist() == [-128, 127]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        index8_range(torch.tensor([0.0, bad]))


def test_gradient_passes_straight_through():
    weight = torch.tensor([[0.1, -0.7], [2.0, 0.3]], requires_grad=True)
    factors = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (index8_fake_quantise(weight, *index8_range(weight)) * factors).sum().backward()
    assert torch.equal(weight.grad, factors)
