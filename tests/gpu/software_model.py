"""The CUDA kernels of ``gpu/`` in NumPy: lanes, fragments and offsets as in the sources.

The names are those of ``layout.h`` and ``binary_linear.cu``. Lanes are an axis of 32; loops over
blocks, warps and tiles are loops. Buffers are flat, so an offset beyond them is an error.
"""

from __future__ import annotations

import numpy as np

LANES = np.arange(32)
TILE_ROWS, TILE_COLUMNS, TILE_INPUTS, TILE_WORDS = 16, 8, 256, 8
ROW_TILES, COLUMN_TILES, WARPS = 2, 8, 4
COLUMN_PAIRS, PAIR_WORDS = COLUMN_TILES // 2, 4
WARP_ROWS = ROW_TILES * TILE_ROWS
BLOCK_ROWS = WARPS * WARP_ROWS
BLOCK_COLUMNS = COLUMN_TILES * TILE_COLUMNS
BLOCK_WORDS = BLOCK_COLUMNS // 32
ONES = 0xFFFFFFFF


def input_tiles(inputs):
    return (inputs + TILE_INPUTS - 1) // TILE_INPUTS


def column_blocks(outputs):
    return (outputs + BLOCK_COLUMNS - 1) // BLOCK_COLUMNS


def row_words(signs):
    return input_tiles(signs) * TILE_WORDS


def row_offset(row, signs):
    return row * row_words(signs)


def lane_row(lane, lower):
    return lane // 4 + 8 * lower


def lane_column(lane):
    return lane // 4


def lane_word(lane):
    return lane % 4 * 2


def lane_output(lane, right):
    return lane % 4 * 2 + right


def weight_offset(column_block, tile, inputs, pair, lane):
    at = column_block * input_tiles(inputs) + tile
    return ((at * COLUMN_PAIRS + pair) * 32 + lane) * PAIR_WORDS


def bits_of(words):
    """Bits of words, least significant first, in a last axis of 32."""
    flat = np.ascontiguousarray(words, "<u4")[..., None].view(np.uint8)
    return np.unpackbits(flat, axis=-1, bitorder="little")


def add_common_bits(sums, a, b):
    """Return what ``mma.m16n8k256 .and.popc`` does to the registers of a warp.

    From the PTX ISA, for lane 4 * g + t: register r of A holds row g, or g + 8 where r is odd, and
    inputs 32 * t to 32 * t + 31, plus 128 where r >= 2; register r of B column g, the same inputs,
    plus 128 where r = 1; register r of C row g, or g + 8 where r >= 2, and column 2 * t + r % 2.
    """
    g, t, r4, r2 = LANES[:, None] // 4, LANES[:, None] % 4, np.arange(4), np.arange(2)
    rows = np.zeros((*a.shape[:-2], 16, 8, 32), np.float32)
    rows[..., g + r4 % 2 * 8, t + r4 // 2 * 4, :] = bits_of(a)
    columns = np.zeros((*b.shape[:-2], 8, 8, 32), np.float32)
    columns[..., g + 0 * r2, t + r2 * 4, :] = bits_of(b)
    rows = rows.reshape(*rows.shape[:-2], 256)
    columns = columns.reshape(*columns.shape[:-2], 256)
    product = (rows @ columns.swapaxes(-1, -2)).astype(np.int32)
    return sums + product[..., g + r4 // 2 * 8, 2 * t + r4 % 2]


def count(words, weight, column_block, first_row, rows, inputs):
    """Return common [ROW_TILES, COLUMN_TILES, lane, 4] and ones [ROW_TILES, lane, 4] of a warp."""
    common = np.zeros((ROW_TILES, COLUMN_TILES, 32, 4), np.int32)
    ones = np.zeros((ROW_TILES, 32, 4), np.int32)
    for tile in range(input_tiles(inputs)):
        a = np.zeros((ROW_TILES, 32, 4), np.uint32)
        for i in range(ROW_TILES):
            for lower in range(2):
                row = first_row + i * TILE_ROWS + lane_row(LANES, lower)
                x = row_offset(np.minimum(row, rows - 1), inputs) + lane_word(LANES)
                a[i, :, lower] = words[x + tile * TILE_WORDS]
                a[i, :, lower + 2] = words[x + tile * TILE_WORDS + 1]
        b = np.zeros((COLUMN_TILES, 32, 2), np.uint32)
        for pair in range(COLUMN_PAIRS):
            at = weight_offset(column_block, tile, inputs, pair, LANES)
            b[2 * pair] = weight[at[:, None] + [0, 1]]
            b[2 * pair + 1] = weight[at[:, None] + [2, 3]]
        ones = add_common_bits(ones, a, np.full((32, 2), ONES, np.uint32))
        common = add_common_bits(common, a[:, None], b)
    return common, ones


def warps(blocks, rows, outputs):
    """Yield the block of columns and the first row of all warps that have rows."""
    for block in range(blocks):
        for warp in range(WARPS):
            row = block // column_blocks(outputs) * BLOCK_ROWS + warp * WARP_ROWS
            if row < rows:
                yield block % column_blocks(outputs), row


class Output:
    """A buffer in which every element must be stored once."""

    def __init__(self, size, dtype):
        self.values, self.stores = np.zeros(size, dtype), np.zeros(size, int)

    def store(self, at, values, where):
        np.add.at(self.stores, at[where], 1)
        self.values[at[where]] = values[where]

    def finished(self):
        assert (self.stores == 1).all()
        return self.values


def binary_linear_float32(blocks, words, layer, rows):
    """Run the kernel on device rows, flat; return float32 [rows * outputs]."""
    outputs = layer.outputs
    y = Output(rows * outputs, np.float32)
    for column_block, first_row in warps(blocks, rows, outputs):
        common, ones = count(words, layer.weight, column_block, first_row, rows, layer.inputs)
        for j in range(COLUMN_TILES):
            for right in range(2):
                n = column_block * BLOCK_COLUMNS + j * TILE_COLUMNS + lane_output(LANES, right)
                for i in range(ROW_TILES):
                    for lower in range(2):
                        row = first_row + i * TILE_ROWS + lane_row(LANES, lower)
                        dot = 4 * common[i, j, :, 2 * lower + right] - 2 * ones[i, :, 2 * lower]
                        dot = (dot + layer.offset[n]).astype(np.float32)
                        values = dot * layer.scale[n] + layer.bias[n]
                        y.store(row * outputs + n, values, (n < outputs) & (row < rows))
    return y.finished()


def binary_linear_signs(blocks, words, layer, rows):
    """Run the kernel on device rows, flat; return device rows of the signs, flat."""
    outputs = layer.outputs
    y = Output(rows * row_words(outputs), np.uint32)
    for column_block, first_row in warps(blocks, rows, outputs):
        common, ones = count(words, layer.weight, column_block, first_row, rows, layer.inputs)
        bits = np.zeros((ROW_TILES, 2, BLOCK_WORDS, 32), np.uint32)
        first_column = column_block * BLOCK_COLUMNS + lane_output(LANES, 0)
        for j in range(COLUMN_TILES):
            for right in range(2):
                bit = np.uint32(1 << (j * TILE_COLUMNS + right) % 32)
                least = layer.threshold[first_column + j * TILE_COLUMNS + right]
                for i in range(ROW_TILES):
                    for lower in range(2):
                        counted = common[i, j, :, 2 * lower + right]
                        positive = 2 * counted - ones[i, :, 2 * lower] >= least
                        bits[i, lower, j * TILE_COLUMNS // 32] |= np.where(
                            positive, bit, np.uint32(0)
                        )
        bits <<= lane_output(LANES, 0).astype(np.uint32)
        for distance in (1, 2):
            bits |= bits[..., LANES ^ distance]
        quarter = LANES % 4
        mine = bits[quarter // 2, quarter % 2, :, LANES]
        row = first_row + quarter // 2 * TILE_ROWS + lane_row(LANES, quarter % 2)
        to = row_offset(row, outputs) + column_block * BLOCK_WORDS
        for word in range(BLOCK_WORDS):
            y.store(to + word, mine[:, word], row < rows)
        if column_block + 1 == column_blocks(outputs):
            for word in range(BLOCK_WORDS, row_words(outputs) - column_block * BLOCK_WORDS):
                y.store(to + word, np.zeros(32, np.uint32), row < rows)
    return y.finished()


def pack_signs(blocks, x, rows, inputs):
    """Run the kernel on activations, flat, float32 or the bits of float16; return device rows."""
    y = Output(rows * row_words(inputs), np.uint32)
    for row in range(min(blocks * WARPS, rows)):
        for tile in range(input_tiles(inputs)):
            mine = np.zeros(32, np.uint32)
            for word in range(TILE_WORDS):
                k = tile * TILE_INPUTS + word * 32 + LANES
                values = x[row * inputs + np.minimum(k, inputs - 1)]
                positive = (values > 0) & (values <= 0x7C00 if x.dtype == np.uint16 else True)
                mine[word] = np.packbits((k < inputs) & positive, bitorder="little").view("<u4")[0]
            at = row_offset(row, inputs) + tile * TILE_WORDS + LANES
            y.store(at, mine, LANES < TILE_WORDS)
    return y.finished()
