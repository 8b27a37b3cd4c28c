// The 1-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, or their signs.
#include "layout.h"
#include "mma.h"

namespace {

// Where a warp is.
struct Place {
    int lane;
    int column_block;
    long long row;  // first of its WARP_ROWS
};

// Counts of common bits; `ones` are those with a column of ones, so the bits of each row.
struct Sums {
    int common[ROW_TILES][COLUMN_TILES][4];
    int ones[ROW_TILES][4];
};

__device__ Place place_of_warp(int outputs) {
    const int blocks = column_blocks(outputs);
    const int warp = threadIdx.x / LANES;
    // Blocks of the same rows run side by side, so the rows come from the cache.
    return {int(threadIdx.x % LANES), int(blockIdx.x % blocks),
            (long long)(blockIdx.x / blocks) * BLOCK_ROWS + warp * WARP_ROWS};
}

// Loads a lane's part of the rows' words of one tile of inputs.
__device__ __forceinline__ void load_rows(unsigned (&a)[ROW_TILES][4],
                                          const unsigned *const (&x)[ROW_TILES][2], int tile) {
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

__device__ __forceinline__ void count(Sums &sums, const unsigned *input, const unsigned *weight,
                                      const Place &place, long long rows, int inputs) {
    const unsigned *x[ROW_TILES][2];
#pragma unroll
    for (int i = 0; i < ROW_TILES; i++) {
#pragma unroll
        for (int lower = 0; lower < 2; lower++) {
            const long long row = place.row + i * TILE_ROWS + lane_row(place.lane, lower);
            // Rows past the end repeat the last one; they are not stored.
            x[i][lower] = input + row_offset(row < rows ? row : rows - 1, inputs) +
                          lane_word(place.lane);
        }
    }
    const int tiles = input_tiles(inputs);  // at least one
    const unsigned *w = weight + weight_offset(place.column_block, 0, inputs, 0, place.lane);
    unsigned a[ROW_TILES][4], next[ROW_TILES][4];
    load_rows(next, x, 0);
    int tile = 0;
    // Not a `for`: its test of no tiles keeps the compiler from joining what follows the sums.
#pragma unroll 1
    do {
#pragma unroll
        for (int i = 0; i < ROW_TILES; i++)
#pragma unroll
            for (int word = 0; word < 4; word++) a[i][word] = next[i][word];
        // The next rows travel while these are multiplied.
        load_rows(next, x, tile + 1 < tiles ? tile + 1 : tile);
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
        w += COLUMN_PAIRS * LANES * PAIR_WORDS;
    } while (++tile < tiles);
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
    unsigned bits[ROW_TILES][2][BLOCK_WORDS] = {};
    const int first_column = place.column_block * BLOCK_COLUMNS + lane_output(place.lane, 0);
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
    unsigned *to = y + row_offset(row, outputs);
    const int first = place.column_block * BLOCK_WORDS;
    *reinterpret_cast<uint2 *>(to + first) = mine;
    // The last block of columns also writes the padding.
    if (place.column_block + 1 == column_blocks(outputs))
#pragma unroll 1
        for (int word = first + BLOCK_WORDS; word < row_words(outputs); word += 2)
            *reinterpret_cast<uint2 *>(to + word) = make_uint2(0, 0);
}
