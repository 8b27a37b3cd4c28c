/* Layers by tiles (AMX): 16 rows times 16 outputs at a time, 64 bytes of inputs a step. All else
   is AVX-512's. Signs are multiplied as bytes of 1 and -1, which is quicker here than counting. */
#include "simd.h"

#if defined(CTR_AMX)
#define CTR_TARGET __attribute__((target("amx-tile,amx-int8,avx512f,avx512bw")))
#include <immintrin.h>
#include <string.h>

#define HIGH CTR_HIGH /* rows of a tile, and its outputs */
#define BYTES 64      /* of a tile's row */
#define TILE (HIGH * BYTES)

_Static_assert(CTR_PANEL == 2 * HIGH, "a panel is two tiles wide");

static size_t whole(size_t bytes) { return (bytes + BYTES - 1) / BYTES * BYTES; }

/* Weights of 1 bit are there twice: as AVX-512 has them, for few rows, and behind it as bytes. */
static size_t binary_start(const struct ctr_layer *layer) {
    return whole(ctr_avx512.binary_bytes(layer->padded, layer->inputs));
}

static size_t binary_bytes(int32_t padded, int32_t inputs) {
    return whole(ctr_avx512.binary_bytes(padded, inputs)) +
           ctr_avx512.integer_bytes(padded, inputs);
}

/* [padded / 16][inputs / 4][16 outputs][4 bytes], 0 where there are no inputs */
static void binary_pack(const struct ctr_layer *layer, const uint8_t *signs) {
    ctr_avx512.binary_pack(layer, signs);
    size_t inputs = (size_t)layer->inputs, steps = whole(inputs) / 4, row = (inputs + 7) / 8;
    int8_t *bytes = (int8_t *)layer->weight + binary_start(layer);
    memset(bytes, 0, ctr_avx512.integer_bytes(layer->padded, layer->inputs));
    for (size_t n = 0; n < (size_t)layer->outputs; n++)
        for (size_t k = 0; k < inputs; k++)
            bytes[((n / HIGH * steps + k / 4) * HIGH + n % HIGH) * 4 + k % 4] =
                signs[n * row + k / 8] >> (k % 8) & 1 ? 1 : -1;
}

static size_t staged_bytes(bool binary, int32_t inputs) {
    return binary ? whole((size_t)inputs) : 0;
}

/* Only signs are staged. */
CTR_TARGET static void stage(const uint8_t *x, int32_t inputs, void *staged) {
    size_t bytes = ((size_t)inputs + 31) / 32 * 4;
    for (size_t k = 0; k < bytes; k += 8) {
        uint64_t signs = 0;
        memcpy(&signs, x + k, k + 8 <= bytes ? 8 : 4);
        __m512i minus = _mm512_set1_epi8(-1);
        _mm512_storeu_si512((int8_t *)staged + k * 8,
                            _mm512_mask_blend_epi8(signs, minus, _mm512_set1_epi8(1)));
    }
}

/* 32 or 16 rows times 32 outputs; `start` has what each output starts from. Levels have no sign. */
CTR_TARGET static inline __attribute__((always_inline)) void
product(const bool binary, const bool both, const int32_t *start, const uint8_t *weight,
        size_t steps, const uint8_t *x, size_t stride, int32_t *sums, size_t columns) {
    const uint8_t *more = weight + steps * TILE;
    _tile_loadd(0, start, 0);
    _tile_loadd(1, start + HIGH, 0);
    if (both) {
        _tile_loadd(2, start, 0);
        _tile_loadd(3, start + HIGH, 0);
    }
    for (size_t s = 0; s < steps; s++) {
        _tile_loadd(4, x + s * BYTES, stride);
        _tile_loadd(6, weight + s * TILE, BYTES);
        _tile_loadd(7, more + s * TILE, BYTES);
        if (both) _tile_loadd(5, x + HIGH * stride + s * BYTES, stride);
        if (binary) {
            _tile_dpbssd(0, 4, 6);
            _tile_dpbssd(1, 4, 7);
        } else {
            _tile_dpbusd(0, 4, 6);
            _tile_dpbusd(1, 4, 7);
        }
        if (both && binary) {
            _tile_dpbssd(2, 5, 6);
            _tile_dpbssd(3, 5, 7);
        } else if (both) {
            _tile_dpbusd(2, 5, 6);
            _tile_dpbusd(3, 5, 7);
        }
    }
    _tile_stored(0, sums, columns * 4);
    _tile_stored(1, sums + HIGH, columns * 4);
    if (both) {
        _tile_stored(2, sums + HIGH * columns, columns * 4);
        _tile_stored(3, sums + HIGH * columns + HIGH, columns * 4);
    }
}

/* `rows` is a multiple of 16; what a step reads behind the inputs meets weights of 0. */
CTR_TARGET static inline __attribute__((always_inline)) void
sums_of(const bool binary, const struct ctr_layer *layer, const uint8_t *x, size_t stride,
        int rows, int first, int columns, int32_t *sums) {
    size_t steps = whole((size_t)layer->inputs) / BYTES;
    const uint8_t *weight = (const uint8_t *)layer->weight + (binary ? binary_start(layer) : 0);
    for (int c = 0; c < columns; c += CTR_PANEL) {
        const uint8_t *w = weight + (size_t)(first + c) / HIGH * steps * TILE;
        const int32_t *start = layer->start + first + c;
        int r = 0;
        for (; r + 2 * HIGH <= rows; r += 2 * HIGH)
            product(binary, true, start, w, steps, x + (size_t)r * stride, stride,
                    sums + r * columns + c, (size_t)columns);
        if (r < rows)
            product(binary, false, start, w, steps, x + (size_t)r * stride, stride,
                    sums + r * columns + c, (size_t)columns);
    }
}

CTR_SUMS(sums_of)

/* The form of the eight tiles. */
static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} form = {
    .palette = 1,
    .bytes = {BYTES, BYTES, BYTES, BYTES, BYTES, BYTES, BYTES, BYTES},
    .rows = {HIGH, HIGH, HIGH, HIGH, HIGH, HIGH, HIGH, HIGH},
};

CTR_TARGET static void begin(void) { _tile_loadconfig(&form); }

CTR_TARGET static void end(void) { _tile_release(); }

struct ctr_simd ctr_amx;

__attribute__((constructor)) static void prepare(void) {
    ctr_amx = ctr_avx512;
    ctr_amx.name = "amx";
    ctr_amx.binary_bytes = binary_bytes;
    ctr_amx.binary_pack = binary_pack;
    ctr_amx.staged_bytes = staged_bytes;
    ctr_amx.stage = stage;
    ctr_amx.tile = HIGH;
    ctr_amx.few = &ctr_avx512;
    ctr_amx.integer_sums = integer_sums;
    ctr_amx.binary_sums = binary_sums;
    ctr_amx.begin = begin;
    ctr_amx.end = end;
}
#else
typedef int ctr_no_amx;
#endif
