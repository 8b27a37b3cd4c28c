/* Kernels for AVX-512 with VNNI and VPOPCNTDQ.
   A step multiplies four bytes, or 32 signs, of a row with those of 16 outputs. */
#if defined(__x86_64__)
#define CTR_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512vpopcntdq")))
#include <immintrin.h>

#include "elements.h"

#define INLINE CTR_TARGET static inline __attribute__((always_inline))
#define LANES 16

static size_t steps_of(bool binary, int32_t inputs) {
    return ((size_t)inputs + (binary ? 31 : 3)) / (binary ? 32 : 4);
}

/* Steps that weights take: bytes fill whole lines, as tiles (amx.c) want them. */
static size_t packed_steps_of(bool binary, int32_t inputs) {
    size_t steps = steps_of(binary, inputs);
    return binary ? steps : (steps + 15) / 16 * 16;
}

static size_t integer_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * packed_steps_of(false, inputs) * 4;
}

static size_t binary_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * packed_steps_of(true, inputs) * 4;
}

/* [padded / 16][steps][16 outputs][4 bytes] */
static void pack(const struct ctr_layer *layer, const uint8_t *rows, size_t bytes) {
    size_t steps = packed_steps_of(layer->binary, layer->inputs);
    uint8_t *weight = layer->weight;
    memset(weight, 0, (size_t)layer->padded * steps * 4);
    for (size_t n = 0; n < (size_t)layer->outputs; n++)
        for (size_t k = 0; k < bytes; k++)
            weight[((n / LANES * steps + k / 4) * LANES + n % LANES) * 4 + k % 4] =
                rows[n * bytes + k];
}

static void integer_pack(const struct ctr_layer *layer, const int8_t *index) {
    pack(layer, (const uint8_t *)index, (size_t)layer->inputs);
}

static void binary_pack(const struct ctr_layer *layer, const uint8_t *signs) {
    pack(layer, signs, ((size_t)layer->inputs + 7) / 8);
}

INLINE __m512i four_bytes(const uint8_t *x) {
    int32_t bytes;
    memcpy(&bytes, x, 4);
    return _mm512_set1_epi32(bytes);
}

/* Some rows times some groups of 16 outputs; everything constant is known to the compiler. */
INLINE void tile(const bool binary, const int rows, const int groups, const struct ctr_layer *layer,
                 const uint8_t *x, size_t stride, int first, int32_t *sums, int columns) {
    size_t steps = steps_of(binary, layer->inputs);
    size_t packed = packed_steps_of(binary, layer->inputs);
    const uint8_t *w = (const uint8_t *)layer->weight + (size_t)first * packed * 4;
    __m512i sum[8][8];
#pragma GCC unroll 8
    for (int g = 0; g < groups; g++)
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            sum[r][g] = binary ? _mm512_setzero_si512()
                               : _mm512_loadu_si512(layer->start + first + g * LANES);
    for (size_t s = 0; s < steps; s++) {
        __m512i weight[8];
#pragma GCC unroll 8
        for (int g = 0; g < groups; g++)
            weight[g] = _mm512_loadu_si512(w + ((size_t)g * packed + s) * 64);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            __m512i input = four_bytes(x + (size_t)r * stride + s * 4);
#pragma GCC unroll 8
            for (int g = 0; g < groups; g++)
                sum[r][g] =
                    binary ? _mm512_add_epi32(sum[r][g], _mm512_popcnt_epi32(_mm512_xor_si512(
                                                             weight[g], input)))
                           : _mm512_dpbusd_epi32(sum[r][g], input, weight[g]);
        }
    }
    __m512i inputs = _mm512_set1_epi32(layer->inputs);
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int g = 0; g < groups; g++) {
            __m512i found = sum[r][g];
            if (binary) found = _mm512_sub_epi32(inputs, _mm512_slli_epi32(found, 1));
            _mm512_storeu_si512(sums + (size_t)r * (size_t)columns + g * LANES, found);
        }
}

INLINE void sums_of(const bool binary, const struct ctr_layer *layer, const uint8_t *x,
                    size_t stride, int rows, int first, int columns, int32_t *sums) {
    int r = 0;
    for (; r + CTR_TILE <= rows; r += CTR_TILE)
        for (int c = 0; c < columns; c += 2 * LANES)
            tile(binary, CTR_TILE, 2, layer, x + (size_t)r * stride, stride, first + c,
                 sums + r * columns + c, columns);
    for (; r < rows; r++) {
        const uint8_t *row = x + (size_t)r * stride;
        int32_t *out = sums + r * columns;
        int c = 0;
        for (; c + 8 * LANES <= columns; c += 8 * LANES)
            tile(binary, 1, 8, layer, row, stride, first + c, out + c, columns);
        for (; c + 4 * LANES <= columns; c += 4 * LANES)
            tile(binary, 1, 4, layer, row, stride, first + c, out + c, columns);
        for (; c < columns; c += 2 * LANES)
            tile(binary, 1, 2, layer, row, stride, first + c, out + c, columns);
    }
}

CTR_TARGET static void integer_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride,
                                    int rows, int first, int columns, int32_t *sums) {
    sums_of(false, layer, x, stride, rows, first, columns, sums);
}

CTR_TARGET static void binary_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride,
                                   int rows, int first, int columns, int32_t *sums) {
    sums_of(true, layer, x, stride, rows, first, columns, sums);
}

INLINE __m512 output(const struct ctr_layer *layer, const int32_t *sums, int n) {
    __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)),
                                   _mm512_loadu_ps(layer->scale + n));
    return _mm512_add_ps(product, _mm512_loadu_ps(layer->bias + n));
}

INLINE __m512 rectified(__m512 x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLE_UQ), x);
}

/* The second operand of a maximum is what comes of NaN. */
INLINE __m128i levels_of(__m512 x, __m512 inverse, __m512 least, __m512 most, __m512i zero) {
    __m512 product = _mm512_max_ps(_mm512_mul_ps(x, inverse), least);
    __m512i whole = _mm512_cvt_roundps_epi32(_mm512_min_ps(product, most),
                                             _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    return _mm512_cvtepi32_epi8(_mm512_add_epi32(whole, zero));
}

CTR_TARGET static void finish_floats(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                     int first, int columns, uint8_t *out, size_t stride) {
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES)
            _mm512_storeu_ps(out + c * 4, output(layer, sums + c, first + c));
}

CTR_TARGET static void finish_relu(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                   int first, int columns, uint8_t *out, size_t stride) {
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES)
            _mm512_storeu_ps(out + c * 4, rectified(output(layer, sums + c, first + c)));
}

CTR_TARGET static void finish_levels(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                     int first, int columns, uint8_t *out, size_t stride) {
    __m512 least = _mm512_set1_ps(-layer->zero), most = _mm512_set1_ps(255.0f - layer->zero);
    __m512i zero = _mm512_set1_epi32((int32_t)layer->zero);
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES) {
            __m512 y = output(layer, sums + c, first + c);
            if (layer->rectified) y = rectified(y);
            __m512 inverse = _mm512_loadu_ps(layer->inverse + first + c);
            _mm_storeu_si128((__m128i *)(void *)(out + c), levels_of(y, inverse, least, most, zero));
        }
}

CTR_TARGET static void finish_bits(const struct ctr_layer *layer, const int32_t *sums, int rows,
                                   int first, int columns, uint8_t *out, size_t stride) {
    const int32_t *threshold = layer->threshold + first;
    const uint8_t *flipped = (const uint8_t *)layer->flipped + first / 8;
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += LANES) {
            uint16_t bits;
            memcpy(&bits, flipped + c / 8, 2);
            bits ^= _mm512_cmpge_epi32_mask(_mm512_loadu_si512(sums + c),
                                            _mm512_loadu_si512(threshold + c));
            memcpy(out + c / 8, &bits, 2);
        }
}

INLINE __m512 steps_at(const float *inverse, bool one, __mmask16 read, int64_t i) {
    return one ? _mm512_set1_ps(inverse[0]) : _mm512_maskz_loadu_ps(read, inverse + i);
}

INLINE __mmask16 lanes_of(int64_t left) {
    return left >= LANES ? 0xffff : (__mmask16)((1u << left) - 1);
}

CTR_TARGET static void quantise(const float *x, const float *inverse, bool one, float zero,
                                int64_t count, uint8_t *out) {
    __m512 least = _mm512_set1_ps(-zero), most = _mm512_set1_ps(255.0f - zero);
    __m512i whole = _mm512_set1_epi32((int32_t)zero);
    for (int64_t i = 0; i < count; i += LANES) {
        __mmask16 some = lanes_of(count - i);
        __m512 steps = steps_at(inverse, one, some, i);
        __m128i bytes = levels_of(_mm512_maskz_loadu_ps(some, x + i), steps, least, most, whole);
        _mm_mask_storeu_epi8(out + i, some, bytes);
    }
}

CTR_TARGET static void levels(const int8_t *row, float scale, float offset, const float *inverse,
                              bool one, float zero, int64_t count, uint8_t *out) {
    __m512 least = _mm512_set1_ps(-zero), most = _mm512_set1_ps(255.0f - zero);
    __m512i whole = _mm512_set1_epi32((int32_t)zero);
    __m512 scales = _mm512_set1_ps(scale), offsets = _mm512_set1_ps(offset);
    for (int64_t i = 0; i < count; i += LANES) {
        __mmask16 some = lanes_of(count - i);
        __m512i index = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(some, row + i));
        __m512 value = _mm512_mul_ps(_mm512_cvtepi32_ps(index), scales);
        value = _mm512_add_ps(value, offsets);
        __m128i bytes =
            levels_of(value, steps_at(inverse, one, some, i), least, most, whole);
        _mm_mask_storeu_epi8(out + i, some, bytes);
    }
}

INLINE uint32_t above(__m512 low, __m512 high) {
    __mmask16 first = _mm512_cmp_ps_mask(low, _mm512_setzero_ps(), _CMP_GT_OQ);
    __mmask16 second = _mm512_cmp_ps_mask(high, _mm512_setzero_ps(), _CMP_GT_OQ);
    return _cvtmask32_u32(_mm512_kunpackw(second, first));
}

CTR_TARGET static void signs(const float *x, int64_t count, uint32_t *bits) {
    int64_t i = 0;
    for (; i + 2 * LANES <= count; i += 2 * LANES)
        *bits++ = above(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + LANES));
    if (i < count) {
        int64_t more = count - i > LANES ? count - i - LANES : 0;
        __m512 low = _mm512_maskz_loadu_ps(lanes_of(count - i), x + i);
        *bits = above(low, _mm512_maskz_loadu_ps(lanes_of(more), x + i + LANES));
    }
}

const struct ctr_simd ctr_avx512 = {
    .name = "avx512",
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
#else
typedef int ctr_no_avx512;
#endif
