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

#define CTR_CHECKED(name, type)                                                                 \
    CTR_TARGET static int64_t name(const struct ctr_slots *slots, const type *ids,              \
                                   int64_t rows, int32_t *restrict out) {                       \
        int32_t count = slots->count;                                                           \
        const int32_t *restrict lowest = slots->lowest;                                         \
        const uint32_t *restrict counts = slots->counts, *restrict padded = slots->padded;      \
        for (int64_t r = 0; r < rows; r++, ids += count, out += count) {                        \
            uint32_t valid = UINT32_MAX;                                                        \
            for (int32_t s = 0; s < count; s++) {                                               \
                int32_t id = (int32_t)ids[s];                                                   \
                bool inside = (uint32_t)id - (uint32_t)lowest[s] < counts[s];                   \
                uint32_t padding = id == CTR_PADDING ? padded[s] : 0;                           \
                uint32_t narrow = id == ids[s] ? UINT32_MAX : 0;                                \
                valid &= ((inside ? UINT32_MAX : 0) | padding) & narrow;                        \
                out[s] = id;                                                                    \
            }                                                                                   \
            if (valid == 0) return r;                                                           \
        }                                                                                       \
        return -1;                                                                              \
    }
CTR_CHECKED(checked_ids, int32_t)
CTR_CHECKED(checked_long_ids, int64_t)
#undef CTR_CHECKED

#define CTR_ELEMENTS                                                                            \
    .quantise = quantise, .signs = signs, .relu = relu, .pair = {add, subtract, multiply},      \
    .ids = checked_ids, .long_ids = checked_long_ids, .values = values,                         \
    .more_values = more_values, .levels = levels
