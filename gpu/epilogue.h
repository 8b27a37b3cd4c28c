// What becomes of a warp's exact sums: float32 outputs, or levels or signs for the next layer.
#pragma once
#include "arithmetic.h"
#include "layout.h"
#include "warp_tile.h"

// A lane's sums of each tile.
using Sums = int[ROW_TILES][COLUMN_TILES][4];

// What outputs are made of; padded to BLOCK_COLUMNS.
struct Outputs {
    const float *scale, *bias;
    int count;
    float least;  // see `least_output`
};

// Calls use(i, lower, j, n, y) with two outputs y of column n and the next, of a row of tile i.
template <class Use>
__device__ __forceinline__ void for_each_pair(const Sums &sums, const float *scale,
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

// Stores float32 [rows, outputs] without padding.
__device__ __forceinline__ void store_float32(const Sums &sums, const Outputs &made,
                                              const Place &place, long long rows, float *y) {
    for_each_pair(sums, made.scale, made.bias, place,
                  [&](int i, int lower, int, int n, float2 pair) {
                      const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
                      if (row >= rows) return;
                      float *to = y + row * made.count + n;
                      if (n < made.count) to[0] = rectified(pair.x, made.least);
                      if (n + 1 < made.count) to[1] = rectified(pair.y, made.least);
                  });
}

// The bits of the first bytes of a word, all 4 of them or fewer.
__device__ inline unsigned first_bytes(int count) {
    return count >= 4 ? ~0u : count <= 0 ? 0u : (1u << 8 * count) - 1;
}

// Stores levels in rows of row_words(level_bits(outputs)) words, padding 0; inverse is padded,
// `stride` words from row to row.
__device__ __forceinline__ void store_levels(const Sums &sums, const Outputs &made,
                                             const Place &place, long long rows,
                                             const float *inverse, int zero, unsigned *y,
                                             int stride) {
    unsigned halves[ROW_TILES][2][COLUMN_TILES];
    for_each_pair(sums, made.scale, made.bias, place,
                  [&](int i, int lower, int j, int n, float2 pair) {
                      const float2 steps = *reinterpret_cast<const float2 *>(inverse + n);
                      const unsigned left = level_of(rectified(pair.x, made.least), steps.x, zero);
                      const unsigned right = level_of(rectified(pair.y, made.least), steps.y, zero);
                      halves[i][lower][j] = left | right << 8;
                  });
    const int words = row_words(level_bits(made.count));
    const bool odd = place.lane % 2;
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
            unsigned *to = y + row * stride;
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
                    to[column / 4] = bytes & first_bytes(made.count - column);
            }
        }
    }
}

// Adds the signs of outputs: 1 where y > 0.
__device__ __forceinline__ void add_signs(RowBits &bits, const Sums &sums, const float *scale,
                                          const float *bias, const Place &place) {
    for_each_pair(sums, scale, bias, place, [&](int i, int lower, int j, int, float2 pair) {
        // What is padding has scale and bias 0, so bits 0.
        const unsigned two = (pair.x > 0 ? 1u : 0u) | (pair.y > 0 ? 2u : 0u);
        bits[i][lower][j * TILE_COLUMNS / 32] |= two << j * TILE_COLUMNS % 32;
    });
}
