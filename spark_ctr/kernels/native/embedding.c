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

/* `dim` is known to the compiler where it is usual. */
static inline __attribute__((always_inline)) void
copy_rows(const struct ctr_column *column, const int64_t dim, const int32_t *ids, int32_t width,
          int rows, uint8_t *out, size_t stride) {
    const int8_t *table = column->rows;
    for (int r = 0; r < rows; r++, ids += width, out += stride) {
        if (r + AHEAD < rows) __builtin_prefetch(table + ids[AHEAD * (int64_t)width] * dim);
        copy_flipped(table + *ids * dim, dim, out);
    }
}

static void copy_column(const struct ctr_column *column, const int32_t *ids, int32_t width,
                        int rows, uint8_t *out, size_t stride) {
    ids += column->first_slot;
    out += column->at;
    switch (column->dim) {
    case 8: copy_rows(column, 8, ids, width, rows, out, stride); break;
    case 16: copy_rows(column, 16, ids, width, rows, out, stride); break;
    case 32: copy_rows(column, 32, ids, width, rows, out, stride); break;
    default: copy_rows(column, column->dim, ids, width, rows, out, stride);
    }
}

/* The sum or the mean over slots, in their order, as docs/packed_format.md has it. */
static void pool(const struct ctr_simd *simd, const struct ctr_column *column, const int32_t *ids,
                 float *out) {
    int32_t found = 0;
    /* Adding to -0 leaves every number as it is. */
    for (int64_t d = 0; d < column->dim; d++) out[d] = -0.0f;
    for (int32_t s = 0; s < column->slots; s++) {
        int32_t id = ids[s];
        if (column->marked && id == CTR_PADDING) continue;
        const int8_t *row = column->rows + (int64_t)(id < 0 ? ~id : id) * column->dim;
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
    if (embedding->inverse == NULL) {
        float *values = (float *)(void *)out + column->at;
        if (column->marked || column->slots > 1)
            pool(simd, column, ids, values);
        else
            simd->values(column->rows + ids[0] * dim, column->scale, column->offset, dim, values);
        return;
    }
    const float *inverse = embedding->inverse + (embedding->one_inverse ? 0 : column->at);
    out += column->at;
    if (column->marked || column->slots > 1) {
        pool(simd, column, ids, sum);
        simd->quantise(sum, inverse, embedding->one_inverse, embedding->zero, dim, out);
    } else {
        simd->levels(column->rows + ids[0] * dim, column->scale, column->offset, inverse,
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
                __builtin_prefetch(column->rows + (int64_t)(id < 0 ? 0 : id) * column->dim);
            }
            look_up(simd, embedding, column, found, sum, to);
        }
    }
}
