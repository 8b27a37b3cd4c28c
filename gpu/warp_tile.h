// What the layers share: where a warp is, its way through the inputs, the signs that it stores.
#pragma once
#include "layout.h"

// Where a warp is.
struct Place {
    int lane;
    int column_block;
    long long row;  // first of its WARP_ROWS
};

__device__ inline Place place_of_warp(int outputs) {
    const int blocks = column_blocks(outputs);
    const int warp = threadIdx.x / LANES;
    // Blocks of the same rows run side by side, so the rows come from the cache.
    return {int(threadIdx.x % LANES), int(blockIdx.x % blocks),
            (long long)(blockIdx.x / blocks) * BLOCK_ROWS + warp * WARP_ROWS};
}

// Output of a lane's first sum; those of tile j and to the right follow by 8 j and 1.
__device__ inline int lane_first_column(const Place &place) {
    return place.column_block * BLOCK_COLUMNS + lane_output(place.lane, 0);
}

// What a layer reads: `stride` words from row to row, of which it takes whole tiles for `bits`.
struct Input {
    const unsigned *words;
    long long rows;
    int bits, stride;
    unsigned nothing;  // 0; if the compiler does not know that, it keeps words as they were copied
};

// Rows without anything between them.
__device__ inline Input dense_rows(const unsigned *words, long long rows, int bits) {
    return {words, rows, bits, row_words(bits), 0};
}

// A lane's part of the rows' words of one tile of inputs.
using RowWords = unsigned[ROW_TILES][4];

__device__ __forceinline__ void load_rows(RowWords &a, const unsigned *const (&x)[ROW_TILES][2],
                                          int tile) {
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const uint2 words = *reinterpret_cast<const uint2 *>(x[i][lower] + tile * TILE_WORDS);
            a[i][lower] = words.x;
            a[i][lower + 2] = words.y;
        }
    }
}

// Calls multiply(a, w) for each tile of inputs: words of the rows, and where a lane's words of the
// weight begin.
template <class Multiply>
__device__ __forceinline__ void for_each_tile(const Input &input, const unsigned *weight,
                                              const Place &place, Multiply multiply) {
    const unsigned *x[ROW_TILES][2];
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
            // Rows past the end repeat the last one; they are not stored.
            x[i][lower] = input.words +
                          (row < input.rows ? row : input.rows - 1) * input.stride +
                          lane_word(place.lane);
        }
    }
    const int tiles = input_tiles(input.bits);  // at least one
    const unsigned *w = weight + weight_offset(place.column_block, 0, input.bits, 0, place.lane);
    RowWords a, next;
    load_rows(next, x, 0);
    int tile = 0;
    // Not a `for`: its test of no tiles keeps the compiler from joining what follows the sums.
#pragma unroll 1
    do {
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
            for (int word = 0; word < 4; word++) a[i][word] = next[i][word] ^ input.nothing;
        // The next rows travel while these are multiplied.
        load_rows(next, x, tile + 1 < tiles ? tile + 1 : tile);
        multiply(a, w);
        w += COLUMN_PAIRS * LANES * PAIR_WORDS;
    } while (++tile < tiles);
}

// Signs of a lane's outputs; bits are those of lane 0's columns, whatever the lane.
using RowBits = unsigned[ROW_TILES][2][BLOCK_WORDS];

// Stores the signs of a warp in rows of row_words(outputs) words, padding 0; `stride` words from
// row to row.
__device__ __forceinline__ void store_signs(RowBits &bits, const Place &place, long long rows,
                                            int outputs, unsigned *y, int stride) {
    static_assert(2 * ROW_TILES == 4 && BLOCK_WORDS == 2, "a lane stores a row of one uint2");
    // The four lanes of a row hold different columns; each of them stores one of the four rows.
    uint2 mine = {};
    const int quarter = place.lane % 4;
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
#pragma unroll
            for (int word = 0; word < BLOCK_WORDS; word++) {
                unsigned &all = bits[i][lower][word];
                all <<= lane_output(place.lane, 0);
                all |= __shfl_xor_sync(~0u, all, 1);
                all |= __shfl_xor_sync(~0u, all, 2);
            }
            if (quarter == 2 * i + lower) mine = make_uint2(bits[i][lower][0], bits[i][lower][1]);
        }
    }
    const long long row =
        place.row + quarter / 2 * TILE_ROWS + lane_row(place.lane, quarter % 2);
    if (row >= rows) return;
    unsigned *to = y + row * stride;
    const int first = place.column_block * BLOCK_WORDS;
    *reinterpret_cast<uint2 *>(to + first) = mine;
    // The last block of columns also writes the padding.
    if (place.column_block + 1 == column_blocks(outputs))
#pragma unroll 1
        for (int word = first + BLOCK_WORDS; word < row_words(outputs); word += 2)
            *reinterpret_cast<uint2 *>(to + word) = make_uint2(0, 0);
}
