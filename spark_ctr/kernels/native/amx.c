/* Layers of 8 bits by tiles (AMX): 16 rows times 16 outputs at a time, 64 bytes of inputs a step. All
   else is AVX-512's: signs as bytes in tiles are no quicker than counting them. */
#include "simd.h"

#if defined(CTR_AMX)
#define CTR_TARGET __attribute__((target("amx-tile,amx-int8")))
#include <immintrin.h>

#define HIGH CTR_HIGH /* rows of a tile, and its outputs */
#define BYTES 64      /* of a tile's row */
#define TILE (HIGH * BYTES)

_Static_assert(CTR_PANEL == 2 * HIGH, "a panel is two tiles wide");

/* 32 or 16 rows times 32 outputs; `start` has what each output starts from. */
CTR_TARGET static inline __attribute__((always_inline)) void
product(const bool both, const int32_t *start, const uint8_t *weight, size_t steps,
        const uint8_t *x, size_t stride, int32_t *sums, size_t columns) {
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
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        if (both) {
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
CTR_TARGET static void integer_sums(const struct ctr_layer *layer, const uint8_t *x, size_t stride,
                                    int rows, int first, int columns, int32_t *sums) {
    size_t steps = ((size_t)layer->inputs + BYTES - 1) / BYTES;
    for (int c = 0; c < columns; c += CTR_PANEL) {
        const uint8_t *weight =
            (const uint8_t *)layer->weight + (size_t)(first + c) / HIGH * steps * TILE;
        const int32_t *start = layer->start + first + c;
        int r = 0;
        for (; r + 2 * HIGH <= rows; r += 2 * HIGH)
            product(true, start, weight, steps, x + (size_t)r * stride, stride,
                    sums + r * columns + c, (size_t)columns);
        if (r < rows)
            product(false, start, weight, steps, x + (size_t)r * stride, stride,
                    sums + r * columns + c, (size_t)columns);
    }
}

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
    ctr_amx.tile = HIGH;
    ctr_amx.few = &ctr_avx512;
    ctr_amx.integer_sums = integer_sums;
    ctr_amx.begin = begin;
    ctr_amx.end = end;
}
#else
typedef int ctr_no_amx;
#endif
