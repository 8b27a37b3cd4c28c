/* The arithmetic of docs/packed_format.md, number by number. */
#ifndef CTR_ARITHMETIC_H
#define CTR_ARITHMETIC_H

#include <stdint.h>

/* Adding and subtracting 1.5 * 2^23 rounds what is below 2^22 to a whole number, half to even. */
#define CTR_ROUNDER 12582912.0f

/* clamp(rint(x * inverse) + zero, 0, 255); clamping to whole numbers commutes with rounding, and
   NaN, which compares as false, becomes level 0. */
static inline __attribute__((always_inline)) uint8_t ctr_level(float x, float inverse, float zero) {
    float product = x * inverse;
    product = product > -zero ? product : -zero;
    product = product < 255.0f - zero ? product : 255.0f - zero;
    return (uint8_t)(int32_t)((product + CTR_ROUNDER) - CTR_ROUNDER + zero);
}

/* The number that an index of a table stands for; the offset is minimum + 128 * scale. */
static inline __attribute__((always_inline)) float ctr_value(int8_t index, float scale,
                                                             float offset) {
    float product = (float)index * scale;
    return product + offset;
}

/* What a layer makes of the exact sum of an output. */
static inline __attribute__((always_inline)) float ctr_output(int32_t sum, float scale,
                                                              float bias) {
    float product = (float)sum * scale;
    return product + bias;
}

/* x where it is above 0, else 0; NaN stays. */
static inline __attribute__((always_inline)) float ctr_relu(float x) {
    return x <= 0.0f ? 0.0f : x;
}

#endif
