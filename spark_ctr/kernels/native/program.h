/* A program: operations on blocks of rows. spark_ctr/runtime/native_words.py writes it, as a list of
   whole numbers whose order is that of read.c; nothing in it is trusted. */
#ifndef CTR_PROGRAM_H
#define CTR_PROGRAM_H

#include <stdatomic.h>

#include "embedding.h"
#include "layer.h"

enum {
    CTR_FORMAT = 2,
    CTR_MOST_AXES = 8,
};

enum ctr_sort { CTR_NUMBERS, CTR_LEVEL_BYTES, CTR_SIGN_WORDS, CTR_CONSTANT, CTR_SORTS };

/* What operations read and write. Value 0 is the numeric columns of the caller. */
struct ctr_value {
    enum ctr_sort sort;
    int64_t elements; /* of a row */
    size_t offset;    /* bytes of a row in front of it in the scratch memory */
    size_t stride;    /* bytes from row to row, 0 for constants */
    uint8_t *constant;
};

/* Strides are in elements. */
struct ctr_axes {
    int count;
    int64_t length[CTR_MOST_AXES], a[CTR_MOST_AXES], b[CTR_MOST_AXES];
};

enum ctr_kind {
    CTR_EMBED,
    CTR_LAYER,
    CTR_QUANTISE,
    CTR_SIGNS,
    CTR_RECTIFY,
    CTR_PAIR,
    CTR_SUM,
    CTR_COPY,
    CTR_TAKE,
    CTR_KINDS
};

struct ctr_operation {
    enum ctr_kind kind;
    int32_t a, b, out; /* values */
    union {
        struct ctr_embedding embed;
        struct {
            struct ctr_layer *layer;
            int64_t groups; /* of inputs, one after the other in a row */
        } layer;
        struct {
            int64_t groups, count, at, width; /* `count` of the `width` levels of a group */
            const float *inverse;
            bool one_inverse;
            float zero;
        } quantise;
        struct {
            int64_t groups, count;
        } signs;
        int64_t count; /* rectify */
        struct {
            enum ctr_pair pair;
            struct ctr_axes axes;
        } pair;
        struct {
            int64_t outer, count, inner;
        } sum;
        struct {
            int64_t from, to; /* first elements; a: strides of the source, b: of the result */
            struct ctr_axes axes;
        } copy;
        struct {
            int64_t outer, length, inner, count;
            int64_t *positions;
        } take;
    };
};

struct ctr_program {
    const struct ctr_simd *simd;
    struct ctr_slots slots;
    int64_t numbers, tasks;
    int32_t value_count, operation_count;
    struct ctr_value *values;
    struct ctr_operation *operations;
    int32_t logits;
    int height; /* rows of a block */
    /* Scratch memory: ids, then inputs of layers, a pooled column, and the values. */
    size_t ids_bytes, staged_bytes, sum_bytes, values_bytes;
    _Atomic(uint8_t *) scratch;
    int32_t kept_count;
    void **kept; /* memory that the program owns besides */
};

void ctr_block_run(const struct ctr_program *program, uint8_t *scratch, const uint8_t *numeric,
                   int rows, float *logits);
size_t ctr_scratch_bytes(const struct ctr_program *program);

#endif
