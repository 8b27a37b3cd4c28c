"""The source of the 8-bit layer, compiled for the host, against the CPU's layer."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import BinaryLinear, IntegerLinear, pack_signs, quantise
from spark_ctr.kernels.cuda import (
    FloatLayer,
    IntegerLayer,
    level_inverse,
    level_row_words,
    levels_from_device_rows,
    levels_to_device_rows,
    linear_blocks,
    row_words,
    to_device_rows,
)
from tests.gpu.host import guarded, launch, survives, unbacked
from tests.gpu.test_integer_model import (
    inputs_,
    integer_layer,
    levels_,
    outputs_,
    random_levels,
    rows_,
    seeds,
)
from tests.gpu.test_software_model import layer_of, same_bits

FILLER = 0xDEADBEEF


def constants_of(layer):
    return layer.weight, layer.start, layer.scale, layer.bias


def expected_outputs(layer, levels, relu):
    with np.errstate(over="ignore"):
        y = IntegerLinear(*layer)(levels)
    return np.maximum(y, np.float32(0)) if relu else y


def same_values(a, b):
    """Compare bits; zeros after `relu` may have either sign on the CPU."""
    same_bits(a + np.float32(0), b + np.float32(0))


def steps_of(outputs, seed):
    draw = np.random.default_rng(seed)
    return draw.choice(np.float32([0.5, 1, 3, 100, 1e-30, 3e38]), outputs)


@settings(max_examples=25)
@given(rows_, inputs_, outputs_, levels_, st.booleans(), seeds)
def test_float_outputs_have_the_bits_of_the_cpu(host, rows, inputs, outputs, zero, relu, seed):
    layer, levels = integer_layer(inputs, outputs, zero, seed), random_levels(rows, inputs, seed)
    y = np.full((rows, outputs), np.nan, np.float32)
    arguments = (*constants_of(IntegerLayer(*layer)), rows, inputs, outputs, int(relu), y)
    words = levels_to_device_rows(levels)
    launch(host, "integer_linear_float32", linear_blocks(rows, outputs), words, *arguments)
    (same_values if relu else same_bits)(y, expected_outputs(layer, levels, relu))


@settings(max_examples=25)
@given(rows_, inputs_, outputs_, levels_, levels_, st.booleans(), seeds)
def test_levels_are_those_of_the_cpu(host, rows, inputs, outputs, zero, out_zero, relu, seed):
    layer, levels = integer_layer(inputs, outputs, zero, seed), random_levels(rows, inputs, seed)
    inverse = steps_of(outputs, seed)
    y = np.full((rows, level_row_words(outputs)), FILLER, "<u4")
    arguments = (*constants_of(IntegerLayer(*layer)), rows, inputs, outputs, int(relu))
    after = (level_inverse(inverse, outputs), out_zero, y)
    words = levels_to_device_rows(levels)
    launch(host, "integer_linear_levels", linear_blocks(rows, outputs), words, *arguments, *after)
    with np.errstate(over="ignore"):
        expected = quantise(expected_outputs(layer, levels, relu), inverse, out_zero)
    # All words, padding too, as the next layer reads them.
    np.testing.assert_array_equal(y, levels_to_device_rows(expected))
    np.testing.assert_array_equal(levels_from_device_rows(y, outputs), expected)


@settings(max_examples=20)
@given(rows_, inputs_, outputs_, levels_, seeds)
def test_signs_are_those_of_the_cpu(host, rows, inputs, outputs, zero, seed):
    layer, levels = integer_layer(inputs, outputs, zero, seed), random_levels(rows, inputs, seed)
    y = np.full((rows, row_words(outputs)), FILLER, "<u4")
    arguments = (*constants_of(IntegerLayer(*layer)), rows, inputs, outputs, y)
    words = levels_to_device_rows(levels)
    launch(host, "integer_linear_signs", linear_blocks(rows, outputs), words, *arguments)
    expected = pack_signs(expected_outputs(layer, levels, False))
    np.testing.assert_array_equal(y, to_device_rows(expected, outputs))


def test_layers_in_a_row_need_nothing_between_them(host):
    rows, levels = 50, random_levels(50, 70, 0)
    first, second = integer_layer(70, 90, 100, 1), integer_layer(90, 130, 7, 2)
    third, inverse = layer_of(130, 5, 3), steps_of(90, 4)
    between = np.full((rows, level_row_words(90)), FILLER, "<u4")
    signs = np.full((rows, row_words(130)), FILLER, "<u4")
    y = np.full((rows, 5), np.nan, np.float32)
    constants = constants_of(IntegerLayer(*first))
    after = (rows, 70, 90, 1, level_inverse(inverse, 90), 7, between)
    launch(host, "integer_linear_levels", 2, levels_to_device_rows(levels), *constants, *after)
    constants = constants_of(IntegerLayer(*second))
    launch(host, "integer_linear_signs", 3, between, *constants, rows, 90, 130, signs)
    last = FloatLayer(*third)
    constants = (last.weight, last.offset, last.scale, last.bias)
    launch(host, "binary_linear_float32", 1, signs, *constants, rows, 130, 5, 0, y)
    with np.errstate(over="ignore"):
        x = quantise(expected_outputs(first, levels, True), inverse, 7)
    same_bits(y, BinaryLinear(*third)(expected_outputs(second, x, False)))


@pytest.mark.parametrize("zero", [0, 3, 128, 255])
def test_levels_of_awkward_numbers(host, zero):
    # Halves, ends of the range, NaN, infinities, subnormal numbers, and random bits.
    halves = np.arange(-700, 700, dtype=np.float32) / 2
    special = np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-45, -1e-45, 3e38, -3e38, 2**24])
    bits = np.random.default_rng(zero).integers(0, 2**32, 20000, dtype=np.uint32)
    x = np.concatenate([halves, special, bits.view(np.float32)])
    with np.errstate(invalid="ignore"):
        x = np.concatenate([x, np.nextafter(x, np.float32(np.inf))])
    inverse = np.resize(np.float32([1, 1 / 3, 7e5, 1e-40]), len(x))
    for steps in (np.ones_like(x), inverse):
        y = np.zeros(len(x), np.uint8)
        host.host_levels(
            *(ctypes.c_void_p(a.ctypes.data) for a in (x, steps)),
            zero,
            len(x),
            ctypes.c_void_p(y.ctypes.data),
        )
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(y, quantise(x, steps, zero))


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 33, 65), (130, 20, 97)])
def test_nothing_beyond_the_buffers_is_touched(host, shape):
    rows, inputs, outputs = shape
    layer = IntegerLayer(*integer_layer(inputs, outputs, 9, 0))
    constants = [guarded(a) for a in constants_of(layer)]
    words = guarded(levels_to_device_rows(random_levels(rows, inputs, 1)))
    inverse = guarded(level_inverse(np.ones(1, np.float32), outputs))
    y = guarded(np.zeros((rows, outputs), np.float32))
    levels = guarded(np.zeros((rows, level_row_words(outputs)), "<u4"))
    signs = guarded(np.zeros((rows, row_words(outputs)), "<u4"))
    blocks = linear_blocks(rows, outputs)

    def run():
        launch(host, "integer_linear_float32", blocks, words, *constants, *shape, 0, y)
        after = (*shape, 0, inverse, 5, levels)
        launch(host, "integer_linear_levels", blocks, words, *constants, *after)
        launch(host, "integer_linear_signs", blocks, words, *constants, *shape, signs)

    assert survives(run)


def test_rows_beyond_32_bits(host):
    inputs, outputs, rows = 40, 70, (1 << 28) + 5
    layer, last = integer_layer(inputs, outputs, 100, 0), random_levels(5, inputs, 1)
    x = unbacked(rows * level_row_words(inputs), np.uint32)
    x[-5 * level_row_words(inputs) :] = levels_to_device_rows(last).reshape(-1)
    y, size = unbacked(rows * outputs, np.float32), (rows, inputs, outputs)
    levels = unbacked(rows * level_row_words(outputs), np.uint32)
    assert min(len(x), len(y), len(levels)) > 2**32
    blocks, constants = linear_blocks(rows, outputs), constants_of(IntegerLayer(*layer))
    launch(host, "integer_linear_float32", 2, x, *constants, *size, 0, y, first=blocks - 2)
    expected = expected_outputs(layer, last, False)
    same_bits(y[-5 * outputs :].reshape(5, outputs), expected)
    inverse = np.float32([3])
    after = (*size, 0, level_inverse(inverse, outputs), 100, levels)
    launch(host, "integer_linear_levels", 2, x, *constants, *after, first=blocks - 2)
    with np.errstate(over="ignore"):
        expected = levels_to_device_rows(quantise(expected, inverse, 100))
    stored = levels[-5 * level_row_words(outputs) :].reshape(expected.shape)
    np.testing.assert_array_equal(stored, expected)
