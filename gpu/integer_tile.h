// The products of a warp of an 8-bit layer.
#pragma once
#include "epilogue.h"
#include "layout.h"
#include "mma.h"
#include "warp_tile.h"

// Sets the sums to where they start.
__device__ __forceinline__ void start_sums(Sums &sums, const int *start, const Place &place) {
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
}

// Adds the products of a tile of inputs.
__device__ __forceinline__ void add_tile(Sums &sums, const RowWords &a, const unsigned *w) {
#pragma unroll
    for (int pair = 0; pair < COLUMN_PAIRS; pair++) {
        const uint4 b = *reinterpret_cast<const uint4 *>(w + pair * LANES * PAIR_WORDS);
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++) {
            add_products(sums[i][2 * pair], a[i], b.x, b.y);
            add_products(sums[i][2 * pair + 1], a[i], b.z, b.w);
        }
    }
}

// Sums of a warp, of rows of levels.
__device__ __forceinline__ void multiply(Sums &sums, const Input &input, const unsigned *weight,
                                         const int *start, const Place &place) {
    start_sums(sums, start, place);
    for_each_tile(input, weight, place,
                  [&](const RowWords &a, const unsigned *w) { add_tile(sums, a, w); });
}
