/* Kernels in plain C. */
#define CTR_TARGET
#include "elements.h"

static size_t integer_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * (size_t)inputs;
}

static void integer_pack(const struct ctr_layer *layer, const int8_t *index) {
    memset(layer->weight, 0, integer_bytes(layer->padded, layer->inputs));
    memcpy(layer->weight, index, (size_t)layer->outputs * (size_t)layer->inputs);
}

static size_t words_of(int32_t inputs) { return ((size_t)inputs + 31) / 32; }

static size_t binary_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * words_of(inputs) * 4;
}

static void binary_pack(const struct ctr_layer *layer, const uint8_t *signs) {
    size_t words = words_of(layer->inputs), bytes = ((size_t)layer->inputs + 7) / 8;
    uint8_t *weight = layer->weight;
    memset(weight, 0, binary_bytes(layer->padded, layer->inputs));
    for (int32_t n = 0; n < layer->outputs; n++)
        memcpy(weight + (size_t)n * words * 4, signs + (size_t)n * bytes, bytes);
}

static void integer_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride, int rows,
                         int first, int columns, int32_t *sums) {
    int32_t inputs = layer->inputs;
    for (int r = 0; r < rows; r++, x += stride, sums += columns)
        for (int c = 0; c < columns; c++) {
            const int8_t *w = (const int8_t *)layer->weight + (size_t)(first + c) * (size_t)inputs;
            int32_t sum = layer->start[first + c];
            for (int32_t k = 0; k < inputs; k++) sum += (int32_t)x[k] * w[k];
            sums[c] = sum;
        }
}

static inline uint32_t popcount(uint32_t bits) {
    bits -= (bits >> 1) & 0x55555555u;
    bits = (bits & 0x33333333u) + ((bits >> 2) & 0x33333333u);
    bits = (bits + (bits >> 4)) & 0x0f0f0f0fu;
    return (bits * 0x01010101u) >> 24;
}

static void binary_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride, int rows,
                        int first, int columns, int32_t *sums) {
    size_t words = words_of(layer->inputs);
    for (int r = 0; r < rows; r++, x += stride, sums += columns) {
        const uint32_t *bits = (const uint32_t *)(const void *)x;
        for (int c = 0; c < columns; c++) {
            const uint32_t *w = (const uint32_t *)layer->weight + (size_t)(first + c) * words;
            uint32_t count = 0;
            for (size_t i = 0; i < words; i++) count += popcount(bits[i] ^ w[i]);
            sums[c] = layer->inputs - 2 * (int32_t)count;
        }
    }
}

#include "finish.h"

const struct ctr_simd ctr_portable = {
    .name = "portable",
    .integer_bytes = integer_bytes,
    .integer_pack = integer_pack,
    .binary_bytes = binary_bytes,
    .binary_pack = binary_pack,
    .tile = CTR_TILE,
    .integer_sums = integer_sums,
    .binary_sums = binary_sums,
    .finish = {finish_floats, finish_relu, finish_levels, finish_bits},
    CTR_ELEMENTS,
};
