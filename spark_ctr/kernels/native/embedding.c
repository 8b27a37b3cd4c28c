#include "embedding.h"

#include <string.h>

#include "arithmetic.h"

/* Rows of tables are anywhere in memory: they are asked for some rows of data ahead. */
#define AHEAD 16

void ctr_embedding_prepare(struct ctr_embedding *embedding) {
    for (int32_t c = 0; c < embedding->count; c++) {
        struct ctr_column *column = &embedding->columns[c];
        column->copied = embedding->inverse != NULL && column->slots == 1 && !column->marked;
        int64_t steps = embedding->one_inverse ? 1 : column->dim;
        for (int64_t d = 0; d < steps && column->copied; d++) {
            float inverse = embedding->one_inverse ? embedding->inverse[0]
                                                   : embedding->inverse[column->at + d];
            for (int q = -128; q < 128; q++) {
                float value = ctr_value((int8_t)q, column->scale, column->offset);
                uint8_t level = ctr_level(value, inverse, embedding->zero);
                column->copied = column->copied && level == (uint8_t)((uint8_t)q ^ 0x80);
            }
        }
    }
}

static inline __attribute__((always_inline)) void copy_flipped(const int8_t *row, int64_t count,
                                                               uint8_t *out) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        uint64_t eight;
        memcpy(&eight, row + i, 8);
        eight ^= 0x8080808080808080u;
        memcpy(out + i, &eight, 8);
    }
    for (; i < count; i++) out[i] = (uint8_t)((uint8_t)row[i] ^ 0x80);
}

static inline __attribute__((always_inline)) bool is_coarse(const struct ctr_coarse *coarse,
                                                            int64_t id) {
    return id >= coarse->first && id < coarse->last;
}

/* Where a row lies, of 4 bits or of 8. */
static inline __attribute__((always_inline)) const void *
place_of(const struct ctr_column *column, int64_t dim, int64_t id) {
    const struct ctr_coarse *coarse = &column->coarse;
    if (is_coarse(coarse, id)) return coarse->rows + (id - coarse->first) * ctr_coarse_bytes(dim);
    if (id >= coarse->last) id -= coarse->last - coarse->first;
    return column->rows + id * dim;
}

/* Of bytes of at most 15 and a factor of at most 8: their indices + 128, which carry nowhere, or
   flipped the indices. */
static inline __attribute__((always_inline)) uint64_t indices_of(uint64_t nibbles, uint64_t factor,
                                                                 bool flipped) {
    const uint64_t ones = 0x0101010101010101u;
    uint64_t found = nibbles * (2 * factor) + (128 - 15 * factor) * ones;
    return flipped ? found ^ 0x80 * ones : found;
}

static inline __attribute__((always_inline)) void
unpack_run(const uint8_t *row, size_t count, uint64_t factor, bool flipped, uint8_t *low,
           size_t low_count, uint8_t *high, size_t high_count) {
    const uint64_t mask = 0x0f0f0f0f0f0f0f0fu;
    uint64_t both = 0;
    memcpy(&both, row, count);
    uint64_t lows = indices_of(both & mask, factor, flipped);
    uint64_t highs = indices_of(both >> 4 & mask, factor, flipped);
    memcpy(low, &lows, low_count);
    memcpy(high, &highs, high_count);
}

/* Behind the factor, byte d holds index d in its low bits and d + (dim + 1) / 2 in its high bits. */
static inline __attribute__((always_inline)) void unpack(const uint8_t *row, int64_t dim,
                                                         bool flipped, uint8_t *out) {
    int64_t half = (dim + 1) / 2, i = 0;
    uint64_t factor = *row++;
    for (; i + 8 <= dim - half; i += 8)
        unpack_run(row + i, 8, factor, flipped, out + i, 8, out + half + i, 8);
    for (; i + 4 <= dim - half; i += 4)
        unpack_run(row + i, 4, factor, flipped, out + i, 4, out + half + i, 4);
    for (; i < half; i++)
        unpack_run(row + i, 1, factor, flipped, out + i, 1, out + half + i, half + i < dim);
}

/* The indices of a row; `room` holds those of 4 bits. */
static inline const int8_t *row_of(const struct ctr_column *column, int64_t id, void *room) {
    const void *place = place_of(column, column->dim, id);
    if (!is_coarse(&column->coarse, id)) return place;
    unpack(place, column->dim, true, room);
    return room;
}

/* `dim` is known to the compiler where it is usual, and whether there are rows of 4 bits. */
static inline __attribute__((always_inline)) void
copy_rows(const struct ctr_column *column, const int64_t dim, const bool mixed, const int32_t *ids,
          int32_t width, int rows, uint8_t *out, size_t stride) {
    for (int r = 0; r < rows; r++, ids += width, out += stride) {
        if (r + AHEAD < rows) {
            int64_t ahead = ids[AHEAD * (int64_t)width];
            __builtin_prefetch(mixed ? place_of(column, dim, ahead) : column->rows + ahead * dim);
        }
        if (!mixed)
            copy_flipped(column->rows + *ids * dim, dim, out);
        else if (is_coarse(&column->coarse, *ids))
            unpack(place_of(column, dim, *ids), dim, false, out);
        else
            copy_flipped(place_of(column, dim, *ids), dim, out);
    }
}

static void copy_column(const struct ctr_column *column, const int32_t *ids, int32_t width,
                        int rows, uint8_t *out, size_t stride) {
    ids += column->first_slot;
    out += column->at;
    bool mixed = column->coarse.rows != NULL;
#define COPY(dim)                                                                      \
    (mixed ? copy_rows(column, dim, true, ids, width, rows, out, stride)               \
           : copy_rows(column, dim, false, ids, width, rows, out, stride))
    switch (column->dim) {
    case 8: COPY(8); break;
    case 16: COPY(16); break;
    case 32: COPY(32); break;
    default: COPY(column->dim);
    }
#undef COPY
}

/* The sum or the mean over slots, in their order, as docs/packed_format.md has it. */
static void pool(const struct ctr_simd *simd, const struct ctr_column *column, const int32_t *ids,
                 void *room, float *out) {
    int32_t found = 0;
    /* Adding to -0 leaves every number as it is. */
    for (int64_t d = 0; d < column->dim; d++) out[d] = -0.0f;
    for (int32_t s = 0; s < column->slots; s++) {
        int32_t id = ids[s];
        if (column->marked && id == CTR_PADDING) continue;
        const int8_t *row = row_of(column, id < 0 ? ~id : id, room);
        simd->more_values(row, column->scale, column->offset, id < 0, column->dim, out);
        found++;
    }
    if (found == 0) memset(out, 0, (size_t)column->dim * sizeof *out);
    if (!column->mean || column->slots == 1) return;
    float divisor = (float)(!column->counted ? column->slots : found > 0 ? found : 1);
    for (int64_t d = 0; d < column->dim; d++) out[d] = out[d] / divisor;
}

static void look_up(const struct ctr_simd *simd, const struct ctr_embedding *embedding,
                    const struct ctr_column *column, const int32_t *ids, float *sum,
                    uint8_t *out) {
    int64_t dim = column->dim;
    void *room = sum + dim;
    if (embedding->inverse == NULL) {
        float *values = (float *)(void *)out + column->at;
        if (column->marked || column->slots > 1)
            pool(simd, column, ids, room, values);
        else
            simd->values(row_of(column, ids[0], room), column->scale, column->offset, dim, values);
        return;
    }
    const float *inverse = embedding->inverse + (embedding->one_inverse ? 0 : column->at);
    out += column->at;
    if (column->marked || column->slots > 1) {
        pool(simd, column, ids, room, sum);
        simd->quantise(sum, inverse, embedding->one_inverse, embedding->zero, dim, out);
    } else {
        simd->levels(row_of(column, ids[0], room), column->scale, column->offset, inverse,
                     embedding->one_inverse, embedding->zero, dim, out);
    }
}

void ctr_embedding_run(const struct ctr_simd *simd, const struct ctr_embedding *embedding,
                       const int32_t *ids, int32_t width, int rows, float *sum, uint8_t *out,
                       size_t stride) {
    for (int32_t c = 0; c < embedding->count; c++) {
        const struct ctr_column *column = &embedding->columns[c];
        if (column->copied) {
            copy_column(column, ids, width, rows, out, stride);
            continue;
        }
        const int32_t *found = ids + column->first_slot;
        uint8_t *to = out;
        for (int r = 0; r < rows; r++, found += width, to += stride) {
            if (r + AHEAD < rows) {
                int32_t id = found[AHEAD * (int64_t)width];
                __builtin_prefetch(place_of(column, column->dim, id < 0 ? 0 : id));
            }
            look_up(simd, embedding, column, found, sum, to);
        }
    }
}
