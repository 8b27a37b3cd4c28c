/* Kernels for AVX2. Products of bytes would saturate (vpmaddubsw), so that they are of 16 bits. */
#if defined(__x86_64__)
#define CTR_TARGET __attribute__((target("avx2")))
#include <immintrin.h>

#include "elements.h"
#include "nibbles.h"

#define INLINE CTR_TARGET static inline __attribute__((always_inline))
#define LANES 8

static size_t steps_of(int32_t inputs) { return ((size_t)inputs + 1) / 2; }

static size_t integer_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * steps_of(inputs) * 4;
}

/* [padded / 8][steps][8 outputs][2 inputs] int16 */
static void integer_pack(const struct ctr_layer *layer, const int8_t *index) {
    size_t inputs = (size_t)layer->inputs, steps = steps_of(layer->inputs);
    int16_t *weight = layer->weight;
    memset(weight, 0, integer_bytes(layer->padded, layer->inputs));
    for (size_t n = 0; n < (size_t)layer->outputs; n++)
        for (size_t k = 0; k < inputs; k++)
            weight[((n / LANES * steps + k / 2) * LANES + n % LANES) * 2 + k % 2] =
                index[n * inputs + k];
}

/* Inputs as int16, an even number of them. */
static size_t staged_bytes(int32_t inputs) { return steps_of(inputs) * 4; }

CTR_TARGET static void stage(const uint8_t *levels, int32_t inputs, void *staged) {
    int16_t *out = staged;
    for (int32_t k = 0; k < inputs; k++) out[k] = levels[k];
    if (inputs % 2) out[inputs] = 0;
}

INLINE void integer_tile(const int rows, const int groups, const struct ctr_layer *layer,
                         const uint8_t *x, size_t stride, int first, int32_t *sums, int columns) {
    size_t steps = steps_of(layer->inputs);
    const uint8_t *w = (const uint8_t *)layer->weight + (size_t)first * steps * 4;
    __m256i sum[4][8];
#pragma GCC unroll 8
    for (int g = 0; g < groups; g++)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sum[r][g] = _mm256_loadu_si256(
                (const __m256i *)(const void *)(layer->start + first + g * LANES));
    for (size_t s = 0; s < steps; s++) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, x + (size_t)r * stride + s * 4, 4);
            __m256i input = _mm256_set1_epi32(pair);
#pragma GCC unroll 8
            for (int g = 0; g < groups; g++) {
                const uint8_t *at = w + ((size_t)g * steps + s) * 32;
                __m256i weight = _mm256_loadu_si256((const __m256i *)(const void *)at);
                sum[r][g] = _mm256_add_epi32(sum[r][g], _mm256_madd_epi16(input, weight));
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int g = 0; g < groups; g++) {
            int32_t *out = sums + (size_t)r * (size_t)columns + g * LANES;
            _mm256_storeu_si256((__m256i *)(void *)out, sum[r][g]);
        }
}

CTR_TARGET static void integer_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride,
                                    int rows, int first, int columns, int32_t *sums) {
    int r = 0;
    for (; r + 4 <= rows; r += 4)
        for (int c = 0; c < columns; c += 2 * LANES)
            integer_tile(4, 2, layer, x + (size_t)r * stride, stride, first + c,
                         sums + r * columns + c, columns);
    for (; r < rows; r++) {
        const uint8_t *row = x + (size_t)r * stride;
        int32_t *out = sums + r * columns;
        int c = 0;
        for (; c + 8 * LANES <= columns; c += 8 * LANES)
            integer_tile(1, 8, layer, row, stride, first + c, out + c, columns);
        for (; c < columns; c += 4 * LANES)
            integer_tile(1, 4, layer, row, stride, first + c, out + c, columns);
    }
}

/* Some rows times some panels of 32 outputs. Four signs of a row choose a table of 16 bytes, and
   four signs of an output what they differ in. */
INLINE void binary_tile(const int rows, const int panels, const struct ctr_layer *layer,
                        const uint8_t *x, size_t stride, int first, int32_t *sums, int columns) {
    size_t bytes = ctr_sign_bytes(layer->inputs);
    const uint8_t *w = (const uint8_t *)layer->weight + (size_t)first * bytes * 2;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < panels * CTR_PANEL; c++) sums[r * columns + c] = layer->inputs;
    for (size_t from = 0; from < bytes; from += CTR_SIGN_RUN) {
        size_t to = from + CTR_SIGN_RUN < bytes ? from + CTR_SIGN_RUN : bytes;
        __m256i count[4][4];
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++) count[r][p] = _mm256_setzero_si256();
        for (size_t b = from; b < to; b++) {
#pragma GCC unroll 4
            for (int r = 0; r < rows; r++) {
                size_t signs = x[(size_t)r * stride + b];
                __m256i low = _mm256_broadcastsi128_si256(_mm_load_si128(
                    (const __m128i *)(const void *)ctr_differences[signs & 15]));
                __m256i high = _mm256_broadcastsi128_si256(
                    _mm_load_si128((const __m128i *)(const void *)ctr_differences[signs >> 4]));
#pragma GCC unroll 4
                for (int p = 0; p < panels; p++) {
                    const uint8_t *at = w + ((size_t)p * bytes + b) * 64;
                    __m256i first_half = _mm256_loadu_si256((const __m256i *)(const void *)at);
                    __m256i second = _mm256_loadu_si256((const __m256i *)(const void *)(at + 32));
                    count[r][p] =
                        _mm256_add_epi8(count[r][p], _mm256_shuffle_epi8(low, first_half));
                    count[r][p] = _mm256_add_epi8(count[r][p], _mm256_shuffle_epi8(high, second));
                }
            }
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++) {
                uint8_t found[CTR_PANEL];
                _mm256_storeu_si256((__m256i *)(void *)found, count[r][p]);
                int32_t *out = sums + r * columns + p * CTR_PANEL;
                for (int c = 0; c < CTR_PANEL; c++) out[c] -= 2 * (int32_t)found[c];
            }
    }
}

CTR_TARGET static void binary_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride,
                                   int rows, int first, int columns, int32_t *sums) {
    int r = 0;
    for (; r + 4 <= rows; r += 4)
        for (int c = 0; c < columns; c += CTR_PANEL)
            binary_tile(4, 1, layer, x + (size_t)r * stride, stride, first + c,
                        sums + r * columns + c, columns);
    for (; r < rows; r++) {
        const uint8_t *row = x + (size_t)r * stride;
        int32_t *out = sums + r * columns;
        int c = 0;
        for (; c + 4 * CTR_PANEL <= columns; c += 4 * CTR_PANEL)
            binary_tile(1, 4, layer, row, stride, first + c, out + c, columns);
        for (; c < columns; c += CTR_PANEL)
            binary_tile(1, 1, layer, row, stride, first + c, out + c, columns);
    }
}

INLINE __m256 output(const struct ctr_layer *layer, const int32_t *sums, int n) {
    __m256i sum = _mm256_loadu_si256((const __m256i *)(const void *)sums);
    __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(layer->scale + n));
    return _mm256_add_ps(product, _mm256_loadu_ps(layer->bias + n));
}

INLINE __m256 rectified(__m256 x) {
    return _mm256_and_ps(x, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NLE_UQ));
}

CTR_TARGET static void finish_floats(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                     int first, int columns, uint8_t *out, size_t stride) {
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES)
            _mm256_storeu_ps((float *)(void *)out + c, output(layer, sums + c, first + c));
}

CTR_TARGET static void finish_relu(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                   int first, int columns, uint8_t *out, size_t stride) {
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES)
            _mm256_storeu_ps((float *)(void *)out + c,
                             rectified(output(layer, sums + c, first + c)));
}

/* Eight levels as 32-bit numbers; the second operand of a maximum is what comes of NaN. */
INLINE __m256i eight_levels(__m256 x, __m256 inverse, __m256 least, __m256 most, __m256i zero) {
    __m256 product = _mm256_min_ps(_mm256_max_ps(_mm256_mul_ps(x, inverse), least), most);
    product = _mm256_round_ps(product, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm256_add_epi32(_mm256_cvtps_epi32(product), zero);
}

INLINE void store_eight(uint8_t *out, __m256i numbers) {
    __m128i low = _mm256_castsi256_si128(numbers), high = _mm256_extracti128_si256(numbers, 1);
    __m128i words = _mm_packs_epi32(low, high);
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(words, words));
}

CTR_TARGET static void quantise(const float *x, const float *inverse, bool one, float zero,
                                int64_t count, uint8_t *out) {
    __m256 least = _mm256_set1_ps(-zero), most = _mm256_set1_ps(255.0f - zero);
    __m256i whole = _mm256_set1_epi32((int32_t)zero);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256 steps = one ? _mm256_set1_ps(inverse[0]) : _mm256_loadu_ps(inverse + i);
        store_eight(out + i, eight_levels(_mm256_loadu_ps(x + i), steps, least, most, whole));
    }
    for (; i < count; i++) out[i] = ctr_level(x[i], inverse[one ? 0 : i], zero);
}

CTR_TARGET static void levels(const int8_t *row, float scale, float offset, const float *inverse,
                              bool one, float zero, int64_t count, uint8_t *out) {
    __m256 least = _mm256_set1_ps(-zero), most = _mm256_set1_ps(255.0f - zero);
    __m256i whole = _mm256_set1_epi32((int32_t)zero);
    __m256 scales = _mm256_set1_ps(scale), offsets = _mm256_set1_ps(offset);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256 steps = one ? _mm256_set1_ps(inverse[0]) : _mm256_loadu_ps(inverse + i);
        __m256i index =
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(row + i)));
        __m256 value = _mm256_mul_ps(_mm256_cvtepi32_ps(index), scales);
        value = _mm256_add_ps(value, offsets);
        store_eight(out + i, eight_levels(value, steps, least, most, whole));
    }
    for (; i < count; i++)
        out[i] = ctr_level(ctr_value(row[i], scale, offset), inverse[one ? 0 : i], zero);
}

CTR_TARGET static void finish_levels(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                     int first, int columns, uint8_t *out, size_t stride) {
    __m256 least = _mm256_set1_ps(-layer->zero), most = _mm256_set1_ps(255.0f - layer->zero);
    __m256i zero = _mm256_set1_epi32((int32_t)layer->zero);
    /* Packing works on halves of registers, which this order undoes. */
    __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += 4 * LANES) {
            __m256i part[4];
            for (int i = 0; i < 4; i++) {
                int at = c + i * LANES;
                __m256 y = output(layer, sums + at, first + at);
                if (layer->rectified) y = rectified(y);
                __m256 inverse = _mm256_loadu_ps(layer->inverse + first + at);
                part[i] = eight_levels(y, inverse, least, most, zero);
            }
            __m256i bytes = _mm256_packus_epi16(_mm256_packs_epi32(part[0], part[1]),
                                                _mm256_packs_epi32(part[2], part[3]));
            bytes = _mm256_permutevar8x32_epi32(bytes, order);
            _mm256_storeu_si256((__m256i *)(void *)(out + c), bytes);
        }
}

CTR_TARGET static void finish_bits(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                   int first, int columns, uint8_t *out, size_t stride) {
    const int32_t *threshold = layer->threshold + first;
    const uint8_t *flipped = (const uint8_t *)layer->flipped + first / 8;
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES) {
            __m256i sum = _mm256_loadu_si256((const __m256i *)(const void *)(sums + c));
            __m256i at = _mm256_loadu_si256((const __m256i *)(const void *)(threshold + c));
            int below = _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(at, sum)));
            out[c / 8] = (uint8_t)(flipped[c / 8] ^ ~below);
        }
}

CTR_TARGET static void signs(const float *x, int64_t count, uint32_t *bits) {
    uint8_t *out = (uint8_t *)bits;
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        __m256 above = _mm256_cmp_ps(_mm256_loadu_ps(x + i), _mm256_setzero_ps(), _CMP_GT_OQ);
        *out++ = (uint8_t)_mm256_movemask_ps(above);
    }
    for (; i < (count + 31) / 32 * 32; i += LANES) {
        unsigned byte = 0;
        for (int64_t j = i; j < i + LANES && j < count; j++) byte |= (x[j] > 0.0f) << (j - i);
        *out++ = (uint8_t)byte;
    }
}

const struct ctr_simd ctr_avx2 = {
    .name = "avx2",
    .integer_bytes = integer_bytes,
    .integer_pack = integer_pack,
    .binary_bytes = ctr_nibble_bytes,
    .binary_pack = ctr_nibble_pack,
    .staged_bytes = staged_bytes,
    .stage = stage,
    .tile = CTR_TILE,
    .integer_sums = integer_sums,
    .binary_sums = binary_sums,
    .finish = {finish_floats, finish_relu, finish_levels, finish_bits},
    CTR_ELEMENTS,
};
#else
typedef int ctr_no_avx2;
#endif
