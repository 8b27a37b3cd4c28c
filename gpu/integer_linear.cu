// The 8-bit linear layer on tensor cores, sm_80 to sm_90: float32 outputs, levels or signs.
//
// y[row, n] = (start[n] + sum over k of level * index) * scale[n] + bias[n], and 0 where that is
// below with `relu`; start[n] is -zero * (sum of the indices of n). No sum of up to 32,768 inputs
// leaves int32, not even on its way. start, scale, bias and inverse are padded to BLOCK_COLUMNS.
#include "arithmetic.h"
#include "epilogue.h"
#include "integer_tile.h"
#include "layout.h"
#include "warp_tile.h"

// float32 [rows, outputs] without padding.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_float32(const unsigned *input, const unsigned *weight, const int *start,
                           const float *scale, const float *bias, long long rows, int inputs,
                           int outputs, int relu, float *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums;
    multiply(sums, dense_rows(input, rows, level_bits(inputs)), weight, start, place);
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
    multiply(sums, dense_rows(input, rows, level_bits(inputs)), weight, start, place);
    store_levels(sums, {scale, bias, outputs, least_output(relu)}, place, rows, inverse, zero, y,
                 row_words(level_bits(outputs)));
}

// Signs for a 1-bit layer, in its rows: 1 where y > 0.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    integer_linear_signs(const unsigned *input, const unsigned *weight, const int *start,
                         const float *scale, const float *bias, long long rows, int inputs,
                         int outputs, unsigned *y) {
    const Place place = place_of_warp(outputs);
    if (place.row >= rows) return;
    Sums sums;
    multiply(sums, dense_rows(input, rows, level_bits(inputs)), weight, start, place);
    RowBits bits = {};
    add_signs(bits, sums, scale, bias, place);
    store_signs(bits, place, rows, outputs, y, row_words(outputs));
}
