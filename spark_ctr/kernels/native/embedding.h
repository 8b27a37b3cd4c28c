/* Look-up of rows of 8-bit tables, which stay where they are. */
#ifndef CTR_EMBEDDING_H
#define CTR_EMBEDDING_H

#include "simd.h"

/* A column of categories within a look-up. */
struct ctr_column {
    int32_t first_slot, slots;
    bool marked;  /* signed or padded */
    bool mean;
    bool counted; /* the mean is over what is no padding */
    bool copied;  /* levels are indices with their first bit flipped */
    const int8_t *rows;
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

/* `out` is float or uint8, its rows `stride` bytes apart; `sum` holds the widest column. */
void ctr_embedding_run(const struct ctr_simd *simd, const struct ctr_embedding *embedding,
                       const int32_t *ids, int32_t width, int rows, float *sum, uint8_t *out,
                       size_t stride);

#endif
