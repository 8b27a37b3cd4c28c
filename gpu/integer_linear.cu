// The 8-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, levels or signs.
//
// y[row, n] = (start[n] + sum over k of level * index) * scale[n] + bias[n], and 0 where that is
// below with `relu`; start[n] is -zero * (sum of the indices of n). No sum of up to 32,768 inputs
// leaves int32, not even on its way. start, scale, bias and inverse are padded to BLOCK_COLUMNS.
#include "arithmetic.h"
#include "epilogue.h"
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

namespace {

__device__ __forceinline__ void multiply(Sums &sums, const unsigned *input, const unsigned *weight,
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

}  // namespace

// float32 [rows, outputs] without padding.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_float32(const unsigned *input, const unsigned *weight, const int *start,
                           const float *scale, const float *bias, long long rows, int inputs,
                           int outputs, int relu, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    store_float32(sums, {scale, bias, outputs, least_output(relu)}, place, rows, y);
}

// Levels for the layer that follows, in its rows: row_words(level_bits(outputs)) words, padding 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_levels(const unsigned *input, const unsigned *weight, const int *start,
                          const float *scale, const float *bias, long long rows, int inputs,
                          int outputs, int relu, const float *inverse, int zero, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    store_levels(sums, {scale, bias, outputs, least_output(relu)}, place, rows, inverse, zero, y);
}

// Signs for a 1-bit layer, in its rows: 1 where y > 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_signs(const unsigned *input, const unsigned *weight, const int *start,
                         const float *scale, const float *bias, long long rows, int inputs,
                         int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums;
    multiply(sums, input, weight, start, place, rows, inputs);
    RowBits bits = {};
    for_each_pair(sums, scale, bias, place, [&](int i, int lower, int j, int, float2 pair) {
        // What is padding has scale and bias 0, so bits 0.
        const unsigned two = (pair.x > 0 ? 1u : 0u) | (pair.y > 0 ? 2u : 0u);
        bits[i][lower][j * TILE_COLUMNS / 32] |= two << j * TILE_COLUMNS % 32;
    });
    store_signs(bits, place, rows, outputs, y);
}
