/* Look-up of rows of 8-bit and 4-bit tables, which stay where they are. */
#ifndef CTR_EMBEDDING_H
#define CTR_EMBEDDING_H

#include "simd.h"

/* Rows [first, last) of a table have 4 bits: a byte with a factor, then the nibbles of the indices,
   which are (2 * nibble - 15) * factor. */
struct ctr_coarse {
    const uint8_t *rows; /* NULL where there are none */
    int64_t first, last;
};

/* A column of categories within a look-up. */
struct ctr_column {
    int32_t first_slot, slots;
    bool marked;  /* signed or padded */
    bool mean;
    bool counted; /* the mean is over what is no padding */
    bool copied;  /* levels are indices with their first bit flipped */
    const int8_t *rows; /* without those of 4 bits */
    struct ctr_coarse coarse;
    int64_t dim;
    int64_t at; /* element of the row where its embedding goes */
    float scale, offset;
};

struct ctr_embedding {
    int32_t count;
    struct ctr_column *columns;
    /* For levels; NULL for numbers. */
    const float *inverse;
    bool one_inverse;
    float zero;
};

/* Works out `copied`, by the arithmetic itself. */
void ctr_embedding_prepare(struct ctr_embedding *embedding);

/* Bytes of a row of 4 bits. */
static inline int64_t ctr_coarse_bytes(int64_t dim) { return 1 + (dim + 1) / 2; }

/* Bytes that a look-up needs for a column: its numbers, and the indices of a row. */
static inline size_t ctr_embedding_bytes(int64_t dim) { return (size_t)dim * (sizeof(float) + 1); }

/* `out` is float or uint8, its rows `stride` bytes apart; `sum` has `ctr_embedding_bytes` of the
   widest column. */
void ctr_embedding_run(const struct ctr_simd *simd, const struct ctr_embedding *embedding,
                       const int32_t *ids, int32_t width, int rows, float *sum, uint8_t *out,
                       size_t stride);

#endif
