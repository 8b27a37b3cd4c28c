// The 1-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, levels or signs.
//
// y[row, n] = dot * scale[n] + bias[n], and 0 where that is below with `relu`; `offset` is
// inputs - 2 * popcount of weight row n. offset, threshold, scale, bias and inverse are padded to
// BLOCK_COLUMNS.
#include "binary_tile.h"
#include "epilogue.h"
#include "layout.h"
#include "warp_tile.h"

// float32 [rows, outputs] without padding.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_float32(const unsigned *input, const unsigned *weight, const int *offset,
                          const float *scale, const float *bias, long long rows, int inputs,
                          int outputs, int relu, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Counts counts = {};
    count(counts, dense_rows(input, rows, inputs), weight, place);
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
    count(counts, dense_rows(input, rows, inputs), weight, place);
    to_products(counts, offset, place);
    store_levels(counts.common, {scale, bias, outputs, least_output(relu)}, place, rows, inverse,
                 zero, y, row_words(level_bits(outputs)));
}

// Signs, in rows of row_words(outputs) words, padding 0. Bit n is 1 where
// 2 * common - ones >= threshold[n], whose padding is never reached.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_linear_signs(const unsigned *input, const unsigned *weight, const int *threshold,
                        long long rows, int inputs, int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Counts counts = {};
    count(counts, dense_rows(input, rows, inputs), weight, place);
    RowBits bits = {};
    add_signs(bits, counts, threshold, place);
    store_signs(bits, place, rows, outputs, y, row_words(outputs));
}
