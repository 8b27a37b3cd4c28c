"""1-bit layers: gradients, regularisation and schedules, against values worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from spark_ctr.precision.binary import (
    BinaryLinear,
    absolute_binary_weight_regularisation,
    sign,
)
from spark_ctr.precision.schedule import BinarySchedule


def layer(weight, bias=None):
    linear = nn.Linear(len(weight[0]), len(weight), bias=bias is not None)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        if bias is not None:
            linear.bias.copy_(torch.tensor(bias))
    return BinaryLinear(linear)


def test_sign_and_its_clipped_gradient():
    x = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    y = sign(x)
    assert y.tolist() == [-1, -1, -1, -1, 1, 1, 1]
    (y * torch.arange(1.0, 8.0)).sum().backward()
    assert x.grad.tolist() == [0, 0, 3, 4, 5, 0, 0]


def test_forward_by_hand():
    binary = layer([[0.5, -1.5], [0.25, 0.75]], [1.0, 2.0])  # alpha 1 and 0.5
    x = torch.tensor([[3.0, 0.0], [-1.0, 0.1]])  # signs [+, -], [-, +]
    assert binary(x).tolist() == [[3.0, 2.0], [-1.0, 2.0]]


def test_gradients_by_hand():
    binary = layer([[0.5, -1.5]])
    x = torch.tensor([[0.5, 3.0]], requires_grad=True)  # signs [+, +]
    binary(x).sum().backward()
    # d alpha: sum(signs of w * x_hat) = 1 - 1 = 0; through the sign: alpha * x_hat where |w| < 1
    assert binary.weight.grad.tolist() == [[1.0, 0.0]]
    # alpha * sign(w) where |x| < 1
    assert x.grad.tolist() == [[1.0, 0.0]]
    assert binary.bias.grad.tolist() == [1.0]
    # sum(alpha * sign(w) * sign(x)) and sum(alpha * sign(w))
    assert (binary.input_scale.grad.item(), binary.input_offset.grad.item()) == (0.0, 0.0)


def test_gradient_through_alpha_by_hand():
    binary = layer([[0.5, 0.25]])
    binary(torch.tensor([[1.0, 1.0]])).sum().backward()
    # alpha = 0.375 through the sign, and sign(w) / 2 * (1 + 1) through alpha
    assert binary.weight.grad.tolist() == [[1.375, 1.375]]


def test_weights_are_fp32_only_in_training():
    binary = layer([[0.5, -1.5]])
    binary.weight_is_binary = False
    x = torch.tensor([[2.0, -2.0]])
    assert binary.train()(x).item() == 2.0  # 0.5 + 1.5
    assert binary.eval()(x).item() == 2.0  # alpha 1: 1 + 1
    assert binary.train()(-x.abs()).item() == 1.0  # -0.5 + 1.5
    assert binary.eval()(-x.abs()).item() == 0.0


@settings(deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_fitted_input_values_are_the_means_of_each_sign(seed, relu):
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(seed))
    x = x.relu() if relu else x
    binary = layer([[0.1, 0.2, 0.3]])
    binary.fit_input(x)
    high = (binary.input_offset + binary.input_scale).item()
    low = (binary.input_offset - binary.input_scale).item()
    np.testing.assert_allclose(high, x[x > 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(low, x[x <= 0].mean(), rtol=1e-5, atol=1e-6)


def test_fitted_input_of_one_sign():
    binary = layer([[0.1, 0.2]])
    binary.fit_input(torch.tensor([[1.0, 3.0]]))
    assert (binary.input_scale.item(), binary.input_offset.item()) == (0.0, 2.0)


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 2**32))
def test_folded_layer_is_the_layer(outputs, inputs, seed):
    generator = torch.Generator().manual_seed(seed)
    binary = layer(torch.randn(outputs, inputs, generator=generator).tolist())
    with torch.no_grad():
        binary.input_scale.fill_(0.7)
        binary.input_offset.fill_(0.3)
        x = torch.randn(5, inputs, generator=generator)
        scale, bias = binary.folded()
        signs = torch.where(x > 0, 1.0, -1.0) @ torch.where(binary.weight > 0, 1.0, -1.0).T
        torch.testing.assert_close(signs * scale + bias, binary(x), rtol=1e-4, atol=1e-4)


def test_regularisation_value_and_gradient_by_hand():
    # alpha 1 and 2; |W| - alpha = [-0.5, 0.5], [0, 0]
    weight = torch.tensor([[0.5, -1.5], [2.0, -2.0]], requires_grad=True)
    value = absolute_binary_weight_regularisation(weight)
    assert value.item() == 0.125
    value.backward()
    # 2 / 4 * (|w| - alpha) * sign(w)
    assert weight.grad.tolist() == [[-0.25, -0.25], [0.0, 0.0]]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.01, 100))
def test_regularisation_is_the_variance_of_the_magnitudes(seed, factor):
    weight = factor * torch.randn(4, 9, generator=torch.Generator().manual_seed(seed))
    weight.requires_grad_()
    value = absolute_binary_weight_regularisation(weight)
    torch.testing.assert_close(value, weight.abs().var(dim=1, correction=0).mean())
    value.backward()
    # The mean magnitude of an output stays: the gradient of the magnitudes sums to 0.
    total = (weight.grad * weight.sign()).sum(dim=1)
    torch.testing.assert_close(total, torch.zeros(4), rtol=0, atol=1e-5 * factor)


@pytest.mark.parametrize("weight", [[[0.0, 0.0]], [[-0.3, 0.3]]])
def test_regularisation_of_binary_weights_is_zero(weight):
    assert absolute_binary_weight_regularisation(torch.tensor(weight)).item() == 0.0


def three_layers():
    return nn.Sequential(*(layer([[0.5, -1.5], [2.0, -2.0]]) for _ in range(3)))


def binary_by_epoch(schedule, network, epochs):
    flags = []
    for epoch in range(epochs):
        schedule.before_epoch(epoch)
        flags.append([module.weight_is_binary for module in network])
    return flags


@pytest.mark.parametrize(
    ("prioritised", "inverse", "expected", "first"),
    [
        (1, True, ["000", "001", "011", "111", "111"], 3),
        (0, True, ["001", "011", "111", "111", "111"], 2),
        (2, False, ["000", "000", "111", "111", "111"], 2),
        (0, False, ["111"] * 5, 0),
    ],
)
def test_schedule(prioritised, inverse, expected, first):
    network = three_layers()
    schedule = BinarySchedule(network, prioritised_epochs=prioritised, inverse_layerwise=inverse)
    flags = binary_by_epoch(schedule, network, 5)
    assert ["".join(str(int(flag)) for flag in epoch) for epoch in flags] == expected
    assert schedule.first_binary_epoch == first


def test_schedule_regularises_every_layer():
    network = three_layers()
    schedule = BinarySchedule(network, weight=2.0)
    schedule.regularisation().backward()
    assert schedule.regularisation().item() == 0.75  # 2 * 3 * 0.125
    assert network[0].weight.grad.tolist() == [[-0.5, -0.5], [0.0, 0.0]]
    assert BinarySchedule(network, weight=0.0).regularisation().item() == 0.0


def test_schedule_without_binary_layers_does_nothing():
    schedule = BinarySchedule(nn.Linear(2, 2))
    schedule.before_epoch(0)
    assert schedule.first_binary_epoch == 0
    assert schedule.regularisation().item() == 0.0


def test_schedule_refuses_negative_numbers():
    with pytest.raises(ValueError, match="negative"):
        BinarySchedule(three_layers(), prioritised_epochs=-1)
