"""The fragments of the 8-bit layer in NumPy, lane by lane, against exact sums."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.kernels.cuda import IntegerLayer, levels_to_device_rows, linear_blocks
from tests.gpu import software_model as model

# Around the edges of tiles of 32 inputs, blocks of 64 outputs and warps of 32 rows.
inputs_ = st.one_of(st.integers(1, 200), st.sampled_from([31, 32, 33, 64, 65]))
outputs_ = st.one_of(st.integers(1, 200), st.sampled_from([63, 64, 65, 128, 129]))
rows_ = st.one_of(st.integers(0, 40), st.sampled_from([127, 128, 129, 200]))
levels_ = st.one_of(st.integers(0, 255), st.sampled_from([0, 255]))
seeds = st.integers(0, 2**32 - 1)


def integer_layer(inputs, outputs, zero, seed):
    """Index, scale of either sign, bias and zero; many outputs are 0 up to the bias."""
    draw = np.random.default_rng(seed)
    index = draw.integers(-128, 128, (outputs, inputs)).astype(np.int8)
    index[draw.random(outputs) < 0.1] = draw.choice(np.int8([-128, 0, 127]))
    scale = draw.choice(np.float32([1e-3, -1e-3, 7e-5, 0.5, 0, -0.0, 3e38]), outputs)
    bias = draw.choice(np.float32([0, -0.0, 0.7, -0.3, 40]), outputs)
    return index, scale, bias, zero


def random_levels(rows, inputs, seed):
    draw = np.random.default_rng(seed)
    levels = draw.integers(0, 256, (rows, inputs)).astype(np.uint8)
    levels[draw.random(rows) < 0.1] = 255
    return levels


def add_products(sums, a, b):
    """Return what ``mma.m16n8k32 .u8.s8`` does to the registers of a warp.

    From the PTX ISA, for lane 4 * g + t: byte i of the 16 of A holds row g, or g + 8 where i is in
    [4, 8) or [12, 16), and input 4 * t + i % 4, plus 16 where i >= 8; byte i of the 8 of B column g
    and input 4 * t + i % 4, plus 16 where i >= 4; C as in `software_model.add_common_bits`.
    """
    g, t = model.LANES[:, None] // 4, model.LANES[:, None] % 4
    i, j, r = np.arange(16), np.arange(8), np.arange(4)
    rows = np.zeros((*a.shape[:-2], 16, 32))
    rows[..., g + i // 4 % 2 * 8, 4 * t + i % 4 + i // 8 * 16] = np.ascontiguousarray(a).view("u1")
    columns = np.zeros((*b.shape[:-2], 8, 32))
    columns[..., g + 0 * j, 4 * t + j % 4 + j // 4 * 16] = np.ascontiguousarray(b).view("i1")
    product = (rows @ columns.swapaxes(-1, -2)).astype(np.int32)
    return sums + product[..., g + r // 2 * 8, 2 * t + r % 2]


def sums_of_warp(words, layer, column_block, first_row, rows):
    """Return the sums [ROW_TILES, COLUMN_TILES, lane, 4] of a warp, as `multiply` does."""
    bits = 8 * layer.inputs
    sums = np.zeros((model.ROW_TILES, model.COLUMN_TILES, 32, 4), np.int32)
    for j in range(model.COLUMN_TILES):
        for r in range(4):
            n = column_block * model.BLOCK_COLUMNS + j * model.TILE_COLUMNS
            sums[:, j, :, r] = layer.start[n + model.lane_output(model.LANES, r % 2)]
    for tile in range(model.input_tiles(bits)):
        a = np.zeros((model.ROW_TILES, 32, 4), "<u4")
        for i in range(model.ROW_TILES):
            for lower in range(2):
                row = first_row + i * model.TILE_ROWS + model.lane_row(model.LANES, lower)
                x = model.row_offset(np.minimum(row, rows - 1), bits) + tile * model.TILE_WORDS
                x += model.lane_word(model.LANES)
                a[i, :, lower], a[i, :, lower + 2] = words[x], words[x + 1]
        b = np.zeros((model.COLUMN_TILES, 32, 2), "<u4")
        for pair in range(model.COLUMN_PAIRS):
            at = model.weight_offset(column_block, tile, bits, pair, model.LANES)
            b[2 * pair] = layer.weight[at[:, None] + [0, 1]]
            b[2 * pair + 1] = layer.weight[at[:, None] + [2, 3]]
        sums = add_products(sums, a[:, None], b)
    return sums


def sums_of(levels, layer):
    """Return the sums of all outputs, int32 [rows, outputs]; each is stored once."""
    rows, outputs = len(levels), layer.outputs
    words = levels_to_device_rows(levels).reshape(-1)
    y = model.Output(rows * outputs, np.int32)
    for block, first_row in model.warps(linear_blocks(rows, outputs), rows, outputs):
        sums = sums_of_warp(words, layer, block, first_row, rows)
        for i in range(model.ROW_TILES):
            for j in range(model.COLUMN_TILES):
                for r in range(4):
                    row = first_row + i * model.TILE_ROWS + model.lane_row(model.LANES, r // 2)
                    n = block * model.BLOCK_COLUMNS + j * model.TILE_COLUMNS
                    n = n + model.lane_output(model.LANES, r % 2)
                    where = (n < outputs) & (row < rows)
                    y.store(row * outputs + n, sums[i, j, :, r], where)
    return y.finished().reshape(rows, outputs)


@settings(max_examples=25)
@given(rows_, inputs_, outputs_, levels_, seeds)
def test_sums_are_exact(rows, inputs, outputs, zero, seed):
    layer, levels = integer_layer(inputs, outputs, zero, seed), random_levels(rows, inputs, seed)
    expected = (levels.astype(np.int64) - zero) @ layer[0].T.astype(np.int64)
    np.testing.assert_array_equal(sums_of(levels, IntegerLayer(*layer)), expected)


@pytest.mark.parametrize(("zero", "level", "index"), [(0, 255, -128), (255, 0, -128)])
def test_the_widest_layer_fits_32_bits(zero, level, index):
    indices = np.full((1, 32768), index, np.int8)
    layer = IntegerLayer(indices, np.ones(1, np.float32), np.zeros(1, np.float32), zero)
    levels = np.full((1, 32768), level, np.uint8)
    assert sums_of(levels, layer) == (level - zero) * index * 32768


def test_fragments_multiply_every_level_with_its_own():
    # One level and one index: a wrong place in either fragment misses it.
    for k in range(32):
        levels, index = np.zeros((32, 32), np.uint8), np.zeros((64, 32), np.int8)
        row, column = k, 2 * k + 1
        levels[row, k], index[column, k] = 200, -100
        expected = np.zeros((32, 64), np.int64)
        expected[row, column] = -20000
        constants = np.ones(64, np.float32), np.zeros(64, np.float32)
        layer = IntegerLayer(index, *constants, 0)
        np.testing.assert_array_equal(sums_of(levels, layer), expected)
