"""The kernels' tiling, fragments and epilogues, in software, against the CPU's layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import BinaryLinear, pack_signs
from spark_ctr.kernels.cuda import (
    FloatLayer,
    SignLayer,
    from_device_rows,
    linear_blocks,
    row_words,
    to_device_rows,
    warp_blocks,
)
from tests.gpu import software_model

# Around the edges of tiles of 256 inputs, blocks of 64 outputs and warps of 32 rows.
inputs_ = st.one_of(st.integers(1, 700), st.sampled_from([255, 256, 257, 512, 513]))
outputs_ = st.one_of(st.integers(1, 300), st.sampled_from([63, 64, 65, 255, 256, 257]))
rows_ = st.one_of(st.integers(0, 40), st.sampled_from([127, 128, 129, 200]))
seeds = st.integers(0, 2**32 - 1)


def layer_of(inputs, outputs, seed):
    """Signs, scale of either sign and bias; dot * scale + bias is often exactly 0."""
    draw = np.random.default_rng(seed)
    signs = pack_signs(draw.standard_normal((outputs, inputs)))
    scale = draw.choice(np.float32([0.5, -0.5, 0.1, -0.1, 3e-3, 0, -0.0]), outputs)
    bias = scale * draw.integers(-9, 10, outputs).astype(np.float32)
    bias += draw.choice(np.float32([0, 0, 0.3, -0.3]), outputs)
    return signs, inputs, scale, bias


def activations(rows, inputs, seed):
    return np.random.default_rng(seed).standard_normal((rows, inputs)).astype(np.float32)


def device_rows(x):
    return to_device_rows(pack_signs(x), x.shape[1]).reshape(-1)


def same_bits(a, b):
    assert a.dtype == b.dtype == np.float32 and a.shape == b.shape
    np.testing.assert_array_equal(a.view(np.uint32), b.view(np.uint32))


@settings(max_examples=40)
@given(rows_, inputs_, outputs_, seeds)
def test_float_outputs_have_the_bits_of_the_cpu(rows, inputs, outputs, seed):
    layer, x = layer_of(inputs, outputs, seed), activations(rows, inputs, seed)
    y = software_model.binary_linear_float32(
        linear_blocks(rows, outputs), device_rows(x), FloatLayer(*layer), rows
    )
    same_bits(y.reshape(rows, outputs), BinaryLinear(*layer)(x))


@settings(max_examples=40)
@given(rows_, inputs_, outputs_, seeds)
def test_sign_outputs_are_the_signs_of_the_cpu(rows, inputs, outputs, seed):
    layer, x = layer_of(inputs, outputs, seed), activations(rows, inputs, seed)
    y = software_model.binary_linear_signs(
        linear_blocks(rows, outputs), device_rows(x), SignLayer(*layer), rows
    )
    expected = pack_signs(BinaryLinear(*layer)(x))
    words = from_device_rows(y.reshape(rows, row_words(outputs)), outputs)
    # All words, padding too, as the next layer reads them.
    np.testing.assert_array_equal(y, to_device_rows(expected, outputs).reshape(-1))
    np.testing.assert_array_equal(words, expected)


def test_layers_in_a_row_need_nothing_between_them():
    x = activations(50, 100, 0)
    first, second = layer_of(100, 300, 1), layer_of(300, 5, 2)
    between = software_model.binary_linear_signs(
        linear_blocks(50, 300), device_rows(x), SignLayer(*first), 50
    )
    y = software_model.binary_linear_float32(linear_blocks(50, 5), between, FloatLayer(*second), 50)
    same_bits(y.reshape(50, 5), BinaryLinear(*second)(BinaryLinear(*first)(x)))


@settings(max_examples=25)
@given(st.integers(0, 9), inputs_, seeds, st.sampled_from([np.float32, np.float16]))
def test_activations_are_packed_as_on_the_cpu(rows, inputs, seed, dtype):
    x = activations(rows, inputs, seed).astype(dtype)
    special = np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 6e-8, -6e-8], dtype)
    chosen = np.random.default_rng(seed).random(x.shape) < 0.3
    x[chosen] = np.resize(special, chosen.sum())
    flat = x.reshape(-1)
    y = software_model.pack_signs(
        warp_blocks(rows), flat.view(np.uint16) if dtype == np.float16 else flat, rows, inputs
    )
    np.testing.assert_array_equal(y, device_rows(x))


def test_every_float16_has_its_sign():
    halves = np.arange(2**16, dtype=np.uint16)
    y = software_model.pack_signs(warp_blocks(64), halves, 64, 1024)
    np.testing.assert_array_equal(y, device_rows(halves.view(np.float16).reshape(64, 1024)))


def test_fragments_multiply_every_bit_with_its_own():
    # One bit a row and column: a wrong place in either fragment misses it.
    for k in range(software_model.TILE_INPUTS):
        x = np.full((32, 256), -1.0, np.float32)
        w = np.full((64, 256), -1.0, np.float32)
        row, column = k % 32, k % 64
        x[row, k] = w[column, k] = 1
        layer = FloatLayer(pack_signs(w), 256, np.ones(64, np.float32), np.zeros(64, np.float32))
        common, ones = software_model.count(device_rows(x), layer.weight, 0, 0, 32, 256)
        assert common.sum() == 1 and ones.sum() == 8
        i, j, lane, register = (axis[0] for axis in np.nonzero(common))
        assert i * 16 + software_model.lane_row(lane, register // 2) == row
        assert j * 8 + software_model.lane_output(lane, register % 2) == column


def test_a_store_that_is_missing_fails():
    with pytest.raises(AssertionError):
        software_model.Output(1, np.float32).finished()
