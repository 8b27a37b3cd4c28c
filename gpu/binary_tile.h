// The products of a warp of a 1-bit layer.
#pragma once
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

// Counts of common bits; `ones` are those with a column of ones, so the bits of each row.
struct Counts {
    int common[ROW_TILES][COLUMN_TILES][4];
    int ones[ROW_TILES][4];
};

// Adds the common bits of a tile of inputs.
__device__ __forceinline__ void add_tile(Counts &counts, const RowWords &a, const unsigned *w) {
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

// Adds the signs that counts have by their thresholds, whose padding is never reached.
__device__ __forceinline__ void add_signs(RowBits &bits, const Counts &counts, const int *threshold,
                                          const Place &place) {
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
}

// Counts of a warp, of rows of signs.
__device__ __forceinline__ void count(Counts &counts, const Input &input, const unsigned *weight,
                                      const Place &place) {
    for_each_tile(input, weight, place,
                  [&](const RowWords &a, const unsigned *w) { add_tile(counts, a, w); });
}
