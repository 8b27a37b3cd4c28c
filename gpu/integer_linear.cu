// The 8-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, levels or signs.
//
// y[row, n] = (start[n] + sum over k of level * index) * scale[n] + bias[n], and 0 where that is
// below with `relu`; start[n] is -zero * (sum of the indices of n). No sum of up to 32,768 inputs
// leaves int32, not even on its way. start, scale, bias and inverse are padded to BLOCK_COLUMNS.
#include "arithmetic.h"
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

namespace {

using Products = int[ROW_TILES][COLUMN_TILES][4];

__device__ __forceinline__ void multiply(Products &sums, const unsigned *input, const unsigned *weight,
                                         const int *start, const Place &place, long long rows,
                                         int inputs) {
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
        const int2 first = *reinterpret_cast<const int2 *>(start + lane_first_column(place) +
                                                           j * TILE_COLUMNS);
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) {
            sums[i][j][0] = sums[i][j][2] = first.x;
            sums[i][j][1] = sums[i][j][3] = first.y;
        }
    }
    const int bits = level_bits(inputs);
    for_each_tile(input, weight, place, rows, bits, [&](const RowWords &a, const unsigned *w) {
#pragma unroll
        for (int pair = 0; pair < COLUMN_PAIRS; pair++) {
            const uint4 b = *reinterpret_cast<const uint4 *>(w + pair * LANES * PAIR_WORDS);
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
                add_products(sums[i][2 * pair], a[i], b.x, b.y);
                add_products(sums[i][2 * pair + 1], a[i], b.z, b.w);
            }
        }
    });
}

// Calls use(i, lower, j, n, y) with two outputs y of column n and the next, of a row of tile i.
template <class Use>
__device__ __forceinline__ void for_each_pair(const Products &sums, const float *scale,
                                              const float *bias, const Place &place, Use use) {
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
        const int n = lane_first_column(place) + j * TILE_COLUMNS;
        const float2 factor = *reinterpret_cast<const float2 *>(scale + n);
        const float2 term = *reinterpret_cast<const float2 *>(bias + n);
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
            for (int lower = 0; lower < 2; lower++)
                use(i, lower, j, n,
                    float2{output_of(sums[i][j][2 * lower], factor.x, term.x),
                           output_of(sums[i][j][2 * lower + 1], factor.y, term.y)});
    }
}

// The bits of the first bytes of a word, all 4 of them or fewer.
__device__ inline unsigned first_bytes(int count) {
    return count >= 4 ? ~0u : count <= 0 ? 0u : (1u << 8 * count) - 1;
}

}  // namespace

// float32 [rows, outputs] without padding.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_float32(const unsigned *input, const unsigned *weight, const int *start,
                           const float *scale, const float *bias, long long rows, int inputs,
                           int outputs, int relu, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Products sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    const float least = least_output(relu);
    for_each_pair(sums, scale, bias, place, [&](int i, int lower, int, int n, float2 pair) {
        const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
        if (row >= rows) return;
        float *to = y + row * outputs + n;
        if (n < outputs) to[0] = rectified(pair.x, least);
        if (n + 1 < outputs) to[1] = rectified(pair.y, least);
    });
}

// Levels for the layer that follows, in its rows: row_words(level_bits(outputs)) words, padding 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_levels(const unsigned *input, const unsigned *weight, const int *start,
                          const float *scale, const float *bias, long long rows, int inputs,
                          int outputs, int relu, const float *inverse, int zero, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Products sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    const float least = least_output(relu);
    unsigned halves[ROW_TILES][2][COLUMN_TILES];
    for_each_pair(sums, scale, bias, place, [&](int i, int lower, int j, int n, float2 pair) {
        const float2 steps = *reinterpret_cast<const float2 *>(inverse + n);
        const unsigned left = level_of(rectified(pair.x, least), steps.x, zero);
        const unsigned right = level_of(rectified(pair.y, least), steps.y, zero);
        halves[i][lower][j] = left | right << 8;
    });
    const int words = row_words(level_bits(outputs));
    const bool odd = place.lane % 2;
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
            unsigned *to = y + row_offset(row, level_bits(outputs));
#pragma unroll
            for (int pair = 0; pair < COLUMN_PAIRS; pair++) {
                const unsigned(&tiles)[COLUMN_TILES] = halves[i][lower];
                const unsigned even_tile = tiles[2 * pair], odd_tile = tiles[2 * pair + 1];
                // Neighbours swap halves: even lanes have a word of one tile then, odd lanes of
                // the other.
                const unsigned other = __shfl_xor_sync(~0u, odd ? even_tile : odd_tile, 1);
                const unsigned bytes = odd ? other | odd_tile << 16 : even_tile | other << 16;
                const int column = place.column_block * BLOCK_COLUMNS +
                                   (2 * pair + odd) * TILE_COLUMNS + place.lane % 4 / 2 * 4;
                if (row < rows && column / 4 < words)
                    to[column / 4] = bytes & first_bytes(outputs - column);
            }
        }
    }
}

// Signs for a 1-bit layer, in its rows: 1 where y > 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_signs(const unsigned *input, const unsigned *weight, const int *start,
                         const float *scale, const float *bias, long long rows, int inputs,
                         int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Products sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    RowBits bits = {};
    for_each_pair(sums, scale, bias, place, [&](int i, int lower, int j, int, float2 pair) {
        // What is padding has scale and bias 0, so bits 0.
        const unsigned two = (pair.x > 0 ? 1u : 0u) | (pair.y > 0 ? 2u : 0u);
        bits[i][lower][j * TILE_COLUMNS / 32] |= two << j * TILE_COLUMNS % 32;
    });
    store_signs(bits, place, rows, outputs, y);
}
