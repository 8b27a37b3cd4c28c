"""The CUDA sources themselves, compiled for the host with warps of fibers, against the CPU's layer.

It shows what the sources compute, not what a device's compiler makes of them.
"""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels import BinaryLinear, pack_signs, quantise
from spark_ctr.kernels.cuda import (
    FloatLayer,
    SignLayer,
    geometry,
    level_inverse,
    level_row_words,
    levels_to_device_rows,
    linear_blocks,
    oracle_blocks,
    row_words,
    to_device_rows,
    warp_blocks,
)
from tests.gpu import software_model
from tests.gpu.host import guarded, launch, survives, unbacked
from tests.gpu.test_software_model import (
    activations,
    device_rows,
    inputs_,
    layer_of,
    outputs_,
    rows_,
    same_bits,
    seeds,
)


@settings(max_examples=30)
@given(rows_, inputs_, outputs_, seeds)
def test_linear_kernels_have_the_bits_of_the_cpu(host, rows, inputs, outputs, seed):
    arguments, x = layer_of(inputs, outputs, seed), activations(rows, inputs, seed)
    expected = BinaryLinear(*arguments)(x)
    words, size, blocks = device_rows(x), (rows, inputs, outputs), linear_blocks(rows, outputs)
    layer = FloatLayer(*arguments)
    y = np.full((rows, outputs), np.nan, np.float32)
    constants = (layer.weight, layer.offset, layer.scale, layer.bias)
    launch(host, "binary_linear_float32", blocks, words, *constants, *size, 0, y)
    same_bits(y, expected)
    launch(host, "binary_linear_float32", blocks, words, *constants, *size, 1, y)
    # The sign of a zero is left to the CPU's compiler.
    same_bits(y + np.float32(0), np.maximum(expected, np.float32(0)) + np.float32(0))
    signs = SignLayer(*arguments)
    packed = np.full((rows, row_words(outputs)), 0xDEADBEEF, np.uint32)
    constants = (signs.weight, signs.threshold)
    launch(host, "binary_linear_signs", blocks, words, *constants, *size, packed)
    np.testing.assert_array_equal(packed, to_device_rows(pack_signs(expected), outputs))


@settings(max_examples=20)
@given(rows_, inputs_, outputs_, st.integers(0, 255), st.booleans(), seeds)
def test_levels_are_those_of_the_cpu(host, rows, inputs, outputs, zero, relu, seed):
    arguments, x = layer_of(inputs, outputs, seed), activations(rows, inputs, seed)
    inverse = np.random.default_rng(seed).choice(np.float32([0.5, 1, 3, 100, 1e-30]), outputs)
    expected = BinaryLinear(*arguments)(x)
    if relu:
        expected = np.maximum(expected, np.float32(0))
    layer = FloatLayer(*arguments)
    constants = (layer.weight, layer.offset, layer.scale, layer.bias)
    y = np.full((rows, level_row_words(outputs)), 0xDEADBEEF, np.uint32)
    after = (int(relu), level_inverse(inverse, outputs), zero, y)
    blocks, size = linear_blocks(rows, outputs), (rows, inputs, outputs)
    launch(host, "binary_linear_levels", blocks, device_rows(x), *constants, *size, *after)
    np.testing.assert_array_equal(y, levels_to_device_rows(quantise(expected, inverse, zero)))


@settings(max_examples=20)
@given(st.integers(0, 20), st.integers(1, 300), st.integers(1, 40), seeds)
def test_oracle_has_the_bits_of_the_cpu(host, rows, inputs, outputs, seed):
    arguments, x = layer_of(inputs, outputs, seed), activations(rows, inputs, seed)
    signs, _, scale, bias = arguments
    y = np.full((rows, outputs), np.nan, np.float32)
    constants = (to_device_rows(signs, inputs), scale, bias)
    blocks = oracle_blocks(rows, outputs)
    launch(host, "binary_oracle", blocks, device_rows(x), *constants, rows, inputs, outputs, y)
    same_bits(y, BinaryLinear(*arguments)(x))


@settings(max_examples=20)
@given(st.integers(0, 9), inputs_, seeds, st.sampled_from(["float32", "float16"]))
def test_activations_are_packed_as_on_the_cpu(host, rows, inputs, seed, dtype):
    x = activations(rows, inputs, seed).astype(dtype)
    special = np.array([0, -0.0, np.nan, -np.nan, np.inf, -np.inf, 6e-8, -6e-8], dtype)
    chosen = np.random.default_rng(seed).random(x.shape) < 0.3
    x[chosen] = np.resize(special, chosen.sum())
    y = np.full(rows * row_words(inputs), 0xDEADBEEF, np.uint32)
    launch(host, f"pack_signs_{dtype}", warp_blocks(rows), x, rows, inputs, y)
    np.testing.assert_array_equal(y, device_rows(x))


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 257, 65), (130, 20, 300)])
def test_nothing_beyond_the_buffers_is_touched(host, shape):
    rows, inputs, outputs = shape
    arguments, x = layer_of(inputs, outputs, 0), guarded(activations(rows, inputs, 1))
    layer, signs = FloatLayer(*arguments), SignLayer(*arguments)
    constants = [guarded(a) for a in (layer.weight, layer.offset, layer.scale, layer.bias)]
    sign_constants = [guarded(a) for a in (signs.weight, signs.threshold)]
    words = guarded(np.zeros((rows, row_words(inputs)), np.uint32))
    y = guarded(np.zeros((rows, outputs), np.float32))
    packed = guarded(np.zeros((rows, row_words(outputs)), np.uint32))
    levels = guarded(np.zeros((rows, level_row_words(outputs)), np.uint32))
    inverse = guarded(level_inverse(np.ones(1, np.float32), outputs))
    blocks = linear_blocks(rows, outputs)

    def run():
        launch(host, "pack_signs_float32", warp_blocks(rows), x, rows, inputs, words)
        launch(host, "binary_linear_float32", blocks, words, *constants, *shape, 0, y)
        after = (*shape, 0, inverse, 5, levels)
        launch(host, "binary_linear_levels", blocks, words, *constants, *after)
        launch(host, "binary_linear_signs", blocks, words, *sign_constants, *shape, packed)

    assert survives(run)


def test_linear_rows_beyond_32_bits(host):
    inputs, outputs, rows = 300, 70, (1 << 31) + 5
    arguments, last = layer_of(inputs, outputs, 0), activations(5, inputs, 1)
    expected = BinaryLinear(*arguments)(last)
    words = unbacked(rows * row_words(inputs), np.uint32)
    assert len(words) > 2**32
    words[-5 * row_words(inputs) :] = device_rows(last)
    blocks, size = linear_blocks(rows, outputs), (rows, inputs, outputs)
    layer, y = FloatLayer(*arguments), unbacked(rows * outputs, np.float32)
    constants = (layer.weight, layer.offset, layer.scale, layer.bias)
    launch(host, "binary_linear_float32", 2, words, *constants, *size, 0, y, first=blocks - 2)
    same_bits(y[-5 * outputs :].reshape(5, outputs), expected)
    signs, packed = SignLayer(*arguments), unbacked(rows * row_words(outputs), np.uint32)
    constants = (signs.weight, signs.threshold)
    launch(host, "binary_linear_signs", 2, words, *constants, *size, packed, first=blocks - 2)
    stored = packed[-5 * row_words(outputs) :].reshape(5, row_words(outputs))
    np.testing.assert_array_equal(stored, to_device_rows(pack_signs(expected), outputs))


def test_packed_rows_beyond_32_bits(host):
    inputs, rows = 20, (1 << 31) + 3
    last = activations(3, inputs, 0)
    x, y = unbacked(rows * inputs, np.float32), unbacked(rows * row_words(inputs), np.uint32)
    assert min(len(x), len(y)) > 2**32
    x[-3 * inputs :] = last.reshape(-1)
    launch(host, "pack_signs_float32", 1, x, rows, inputs, y, first=warp_blocks(rows) - 1)
    np.testing.assert_array_equal(y[-3 * row_words(inputs) :], device_rows(last))


def test_sizes_are_those_of_python(host):
    *sizes, threads, elements = (ctypes.c_int * 10).in_dll(host, "SIZES")
    model, own = software_model, geometry
    expected = [32, model.WARPS, model.TILE_INPUTS, model.TILE_WORDS, model.BLOCK_ROWS]
    assert sizes == [*expected, model.BLOCK_COLUMNS, model.BLOCK_WORDS, model.PAIR_WORDS]
    expected = [own.LANES, own.WARPS, own.TILE_INPUTS, own.TILE_WORDS, own.BLOCK_ROWS]
    assert sizes[:6] == [*expected, own.BLOCK_COLUMNS]
    assert (threads, elements) == (own.THREADS, own.BLOCK_ELEMENTS)


def test_offsets_are_those_of_the_model(host):
    host.layout.restype = ctypes.c_longlong

    def layout(what, a, b=0, c=0, d=0, e=0):
        return host.layout(what, ctypes.c_longlong(a), b, c, d, e)

    draw = np.random.default_rng(0)
    for _ in range(300):
        row, signs = int(draw.integers(0, 2**40)), int(draw.integers(1, 2**20))
        assert layout(0, row, signs) == software_model.row_offset(row, signs)
        assert layout(6, signs) == software_model.column_blocks(signs)
        assert layout(7, signs) == software_model.row_words(signs) == row_words(signs)
        assert layout(8, signs) == 8 * signs
        block, pair, lane = (int(draw.integers(0, n)) for n in (2**18, 4, 32))
        tile = int(draw.integers(0, software_model.input_tiles(signs)))
        place = (block, tile, signs, pair, lane)
        assert layout(1, *place) == software_model.weight_offset(*place)
    for lane in range(32):
        assert layout(3, lane) == software_model.lane_column(lane)
        assert layout(4, lane) == software_model.lane_word(lane)
        for side in (0, 1):
            assert layout(2, lane, side) == software_model.lane_row(lane, side)
            assert layout(5, lane, side) == software_model.lane_output(lane, side)
