/* Kernels that go element by element, for the compiler to vectorise.
   Included once by the file of each instruction set, which defines CTR_TARGET. */
#include <string.h>

#include "arithmetic.h"
#include "simd.h"

CTR_TARGET static void relu(const float *restrict x, int64_t count, float *restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = ctr_relu(x[i]);
}

#define CTR_PAIRWISE(name, operator)                                                            \
    CTR_TARGET static void name(const float *a, int64_t a_stride, const float *b,               \
                                int64_t b_stride, int64_t count, float *out) {                  \
        if (a_stride == 1 && b_stride == 1) {                                                   \
            for (int64_t i = 0; i < count; i++) out[i] = a[i] operator b[i];                    \
        } else if (a_stride == 1 && b_stride == 0) {                                            \
            float same = b[0];                                                                  \
            for (int64_t i = 0; i < count; i++) out[i] = a[i] operator same;                    \
        } else if (a_stride == 0 && b_stride == 1) {                                            \
            float same = a[0];                                                                  \
            for (int64_t i = 0; i < count; i++) out[i] = same operator b[i];                    \
        } else {                                                                                \
            for (int64_t i = 0; i < count; i++)                                                 \
                out[i] = a[i * a_stride] operator b[i * b_stride];                              \
        }                                                                                       \
    }
CTR_PAIRWISE(add, +)
CTR_PAIRWISE(subtract, -)
CTR_PAIRWISE(multiply, *)
#undef CTR_PAIRWISE

CTR_TARGET static void values(const int8_t *restrict row, float scale, float offset, int64_t count,
                              float *restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = ctr_value(row[i], scale, offset);
}

CTR_TARGET static void more_values(const int8_t *restrict row, float scale, float offset,
                                   bool negative, int64_t count, float *restrict out) {
    float sign = negative ? -1.0f : 1.0f;
    for (int64_t i = 0; i < count; i++) {
        float value = ctr_value(row[i], scale, offset) * sign;
        out[i] = out[i] + value;
    }
}

#define CTR_ELEMENTS                                                                            \
    .quantise = quantise, .signs = signs, .relu = relu, .pair = {add, subtract, multiply},      \
    .values = values, .more_values = more_values, .levels = levels
