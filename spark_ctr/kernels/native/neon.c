/* Kernels for NEON, which every 64-bit ARM processor has. */
#if defined(__aarch64__)
#define CTR_TARGET
#include <arm_neon.h>

#include "elements.h"
#include "nibbles.h"

#define INLINE static inline __attribute__((always_inline))
#define LANES 16

/* [padded / 16][inputs][16 outputs] int16 */
static size_t integer_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * (size_t)inputs * 2;
}

static void integer_pack(const struct ctr_layer *layer, const int8_t *index) {
    size_t inputs = (size_t)layer->inputs;
    int16_t *weight = layer->weight;
    memset(weight, 0, integer_bytes(layer->padded, layer->inputs));
    for (size_t n = 0; n < (size_t)layer->outputs; n++)
        for (size_t k = 0; k < inputs; k++)
            weight[(n / LANES * inputs + k) * LANES + n % LANES] = index[n * inputs + k];
}

INLINE void integer_tile(const int rows, const struct ctr_layer *layer, const uint8_t *x,
                         size_t stride, int first, int32_t *sums, int columns) {
    size_t inputs = (size_t)layer->inputs;
    const int16_t *w = (const int16_t *)layer->weight + (size_t)first * inputs;
    int32x4_t sum[4][4];
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < 4; g++) sum[r][g] = vld1q_s32(layer->start + first + g * 4);
    for (size_t k = 0; k < inputs; k++, w += LANES) {
        int16x8_t low = vld1q_s16(w), high = vld1q_s16(w + 8);
        for (int r = 0; r < rows; r++) {
            int16_t input = x[(size_t)r * stride + k];
            sum[r][0] = vmlal_n_s16(sum[r][0], vget_low_s16(low), input);
            sum[r][1] = vmlal_n_s16(sum[r][1], vget_high_s16(low), input);
            sum[r][2] = vmlal_n_s16(sum[r][2], vget_low_s16(high), input);
            sum[r][3] = vmlal_n_s16(sum[r][3], vget_high_s16(high), input);
        }
    }
    for (int r = 0; r < rows; r++)
        for (int g = 0; g < 4; g++) vst1q_s32(sums + r * columns + g * 4, sum[r][g]);
}

static void integer_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride, int rows,
                         int first, int columns, int32_t *sums) {
    for (int r = 0; r < rows; r += 4)
        for (int c = 0; c < columns; c += LANES) {
            const uint8_t *from = x + (size_t)r * stride;
            int32_t *to = sums + r * columns + c;
            if (r + 4 <= rows)
                integer_tile(4, layer, from, stride, first + c, to, columns);
            else
                for (int i = 0; i < rows - r; i++)
                    integer_tile(1, layer, from + (size_t)i * stride, stride, first + c,
                                 to + i * columns, columns);
        }
}

INLINE void binary_row(const struct ctr_layer *layer, const uint8_t *x, int first, int32_t *sums) {
    size_t bytes = ctr_sign_bytes(layer->inputs);
    const uint8_t *w = (const uint8_t *)layer->weight + (size_t)first * bytes * 2;
    for (int c = 0; c < CTR_PANEL; c++) sums[c] = layer->inputs;
    for (size_t from = 0; from < bytes; from += CTR_SIGN_RUN) {
        size_t to = from + CTR_SIGN_RUN < bytes ? from + CTR_SIGN_RUN : bytes;
        uint8x16_t left = vdupq_n_u8(0), right = left;
        for (size_t b = from; b < to; b++) {
            uint8x16_t low = vld1q_u8(ctr_differences[x[b] & 15]);
            uint8x16_t high = vld1q_u8(ctr_differences[x[b] >> 4]);
            const uint8_t *at = w + b * 64;
            left = vaddq_u8(left, vqtbl1q_u8(low, vld1q_u8(at)));
            right = vaddq_u8(right, vqtbl1q_u8(low, vld1q_u8(at + 16)));
            left = vaddq_u8(left, vqtbl1q_u8(high, vld1q_u8(at + 32)));
            right = vaddq_u8(right, vqtbl1q_u8(high, vld1q_u8(at + 48)));
        }
        uint8_t found[CTR_PANEL];
        vst1q_u8(found, left);
        vst1q_u8(found + 16, right);
        for (int c = 0; c < CTR_PANEL; c++) sums[c] -= 2 * (int32_t)found[c];
    }
}

static void binary_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride, int rows,
                        int first, int columns, int32_t *sums) {
    for (int c = 0; c < columns; c += CTR_PANEL)
        for (int r = 0; r < rows; r++)
            binary_row(layer, x + (size_t)r * stride, first + c, sums + r * columns + c);
}

#include "finish.h"

const struct ctr_simd ctr_neon = {
    .name = "neon",
    .integer_bytes = integer_bytes,
    .integer_pack = integer_pack,
    .binary_bytes = ctr_nibble_bytes,
    .binary_pack = ctr_nibble_pack,
    .tile = CTR_TILE,
    .integer_sums = integer_sums,
    .binary_sums = binary_sums,
    .finish = {finish_floats, finish_relu, finish_levels, finish_bits},
    CTR_ELEMENTS,
};
#else
typedef int ctr_no_neon;
#endif
