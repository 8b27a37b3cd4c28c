/* Layers: prepared once, then run on blocks of rows. */
#ifndef CTR_LAYER_H
#define CTR_LAYER_H

#include "simd.h"

/* What a layer is made of: arrays of its own length, which are copied. */
struct ctr_layer_parts {
    int32_t inputs, outputs;
    bool binary, rectified, one_inverse;
    enum ctr_finish finish;
    const void *weight;
    const float *scale, *bias, *inverse; /* inverse for CTR_LEVELS only */
    int32_t zero_in, zero_out;
};

/* NULL where memory is short. */
struct ctr_layer *ctr_layer_new(const struct ctr_simd *simd, const struct ctr_layer_parts *parts);
void ctr_layer_free(struct ctr_layer *layer);

/* `rows` rows of inputs and outputs, strides in bytes. Up to CTR_HIGH - 1 rows behind them may be
   read and written too. `staged` holds CTR_ROWS rows of simd->staged_bytes. */
void ctr_layer_run(const struct ctr_simd *simd, const struct ctr_layer *layer, const uint8_t *x,
                   size_t x_stride, int rows, uint8_t *staged, uint8_t *out, size_t out_stride);

#endif
