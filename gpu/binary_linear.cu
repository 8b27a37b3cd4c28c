// The 1-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, or their signs.
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

namespace {

// Counts of common bits; `ones` are those with a column of ones, so the bits of each row.
struct Sums {
    int common[ROW_TILES][COLUMN_TILES][4];
    int ones[ROW_TILES][4];
};

__device__ __forceinline__ void count(Sums &sums, const unsigned *input, const unsigned *weight,
                                      const Place &place, long long rows, int inputs) {
    for_each_tile(input, weight, place, rows, inputs, [&](const RowWords &a, const unsigned *w) {
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) add_common_bits(sums.ones[i], a[i], ~0u, ~0u);
#pragma unroll
        for (int pair = 0; pair < COLUMN_PAIRS; pair++) {
            const uint4 b = *reinterpret_cast<const uint4 *>(w + pair * LANES * PAIR_WORDS);
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
                add_common_bits(sums.common[i][2 * pair], a[i], b.x, b.y);
                add_common_bits(sums.common[i][2 * pair + 1], a[i], b.z, b.w);
            }
        }
    });
}

}  // namespace

// y[row, n] = dot * scale[n] + bias[n], float32 [rows, outputs] without padding; `offset` is
// inputs - 2 * popcount of weight row n. offset, scale and bias are padded to BLOCK_COLUMNS.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_float32(const unsigned *input, const unsigned *weight, const int *offset,
                          const float *scale, const float *bias, long long rows, int inputs,
                          int outputs, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums = {};
    count(sums, input, weight, place, rows, inputs);
#pragma unroll
    for (int j = 0; j < COLUMN_TILES; j++) {
#pragma unroll
        for (int right = 0; right < 2; right++) {
            const int n = place.column_block * BLOCK_COLUMNS + j * TILE_COLUMNS +
                          lane_output(place.lane, right);
            if (n >= outputs) continue;
            const int constant = offset[n];
            const float factor = scale[n], term = bias[n];
#pragma unroll
            for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
                for (int lower = 0; lower < 2; lower++) {
                    const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
                    if (row >= rows) continue;
                    const int common = sums.common[i][j][2 * lower + right];
                    const int dot = 4 * common - 2 * sums.ones[i][2 * lower] + constant;
                    // Not fused: the CPU rounds twice.
                    y[row * outputs + n] = __fadd_rn(__fmul_rn(float(dot), factor), term);
                }
            }
        }
    }
}

// Signs of these outputs, in rows of row_words(outputs) words, padding 0. Bit n is 1 where
// 2 * common - ones >= threshold[n], padded to BLOCK_COLUMNS with what is never reached.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_signs(const unsigned *input, const unsigned *weight, const int *threshold,
                        long long rows, int inputs, int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums = {};
    count(sums, input, weight, place, rows, inputs);
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
                    const int common = sums.common[i][j][2 * lower + right];
                    const bool positive = 2 * common - sums.ones[i][2 * lower] >= least[right];
                    bits[i][lower][j * TILE_COLUMNS / 32] |= positive ? bit : 0;
                }
            }
        }
    }
    store_signs(bits, place, rows, outputs, y);
}
