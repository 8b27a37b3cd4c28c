// The 1-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, levels or signs.
//
// y[row, n] = dot * scale[n] + bias[n], and 0 where that is below with `relu`; `offset` is
// inputs - 2 * popcount of weight row n. offset, threshold, scale, bias and inverse are padded to
// BLOCK_COLUMNS.
#include "epilogue.h"
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

namespace {

// Counts of common bits; `ones` are those with a column of ones, so the bits of each row.
struct Counts {
    int common[ROW_TILES][COLUMN_TILES][4];
    int ones[ROW_TILES][4];
};

__device__ __forceinline__ void count(Counts &counts, const unsigned *input, const unsigned *weight,
                                      const Place &place, long long rows, int inputs) {
    for_each_tile(input, weight, place, rows, inputs, [&](const RowWords &a, const unsigned *w) {
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) add_common_bits(counts.ones[i], a[i], ~0u, ~0u);
#pragma unroll
        for (int pair = 0; pair < COLUMN_PAIRS; pair++) {
            const uint4 b = *reinterpret_cast<const uint4 *>(w + pair * LANES * PAIR_WORDS);
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
                add_common_bits(counts.common[i][2 * pair], a[i], b.x, b.y);
                add_common_bits(counts.common[i][2 * pair + 1], a[i], b.z, b.w);
            }
        }
    });
}

// Counts to dot products, in place.
__device__ __forceinline__ void to_products(Counts &counts, const int *offset, const Place &place) {
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
        const int2 pair = *reinterpret_cast<const int2 *>(offset + lane_first_column(place) +
                                                          j * TILE_COLUMNS);
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
            for (int part = 0; part < 4; part++) {
                int &sum = counts.common[i][j][part];
                sum = 4 * sum - 2 * counts.ones[i][part & 2] + (part & 1 ? pair.y : pair.x);
            }
        }
    }
}

}  // namespace

// float32 [rows, outputs] without padding.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_float32(const unsigned *input, const unsigned *weight, const int *offset,
                          const float *scale, const float *bias, long long rows, int inputs,
                          int outputs, int relu, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Counts counts = {};
    count(counts, input, weight, place, rows, inputs);
    to_products(counts, offset, place);
    store_float32(counts.common, {scale, bias, outputs, least_output(relu)}, place, rows, y);
}

// Levels for an 8-bit layer, in its rows: row_words(level_bits(outputs)) words, padding 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_levels(const unsigned *input, const unsigned *weight, const int *offset,
                         const float *scale, const float *bias, long long rows, int inputs,
                         int outputs, int relu, const float *inverse, int zero, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Counts counts = {};
    count(counts, input, weight, place, rows, inputs);
    to_products(counts, offset, place);
    store_levels(counts.common, {scale, bias, outputs, least_output(relu)}, place, rows, inverse,
                 zero, y);
}

// Signs, in rows of row_words(outputs) words, padding 0. Bit n is 1 where
// 2 * common - ones >= threshold[n], whose padding is never reached.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_signs(const unsigned *input, const unsigned *weight, const int *threshold,
                        long long rows, int inputs, int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Counts counts = {};
    count(counts, input, weight, place, rows, inputs);
    RowBits bits = {};
    const int first_column = lane_first_column(place);
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
        const int2 pair =
            *reinterpret_cast<const int2 *>(threshold + first_column + j * TILE_COLUMNS);
        const int least[2] = {pair.x, pair.y};
#pragma unroll
        for (int right = 0; right < 2; right++) {
            // Of lane 0: a constant. The columns of the others follow by 2.
            const unsigned bit = 1u << (j * TILE_COLUMNS + right) % 32;
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
                for (int lower = 0; lower < 2; lower++) {
                    const int common = counts.common[i][j][2 * lower + right];
                    const bool positive = 2 * common - counts.ones[i][2 * lower] >= least[right];
                    bits[i][lower][j * TILE_COLUMNS / 32] |= positive ? bit : 0;
                }
            }
        }
    }
    store_signs(bits, place, rows, outputs, y);
}
