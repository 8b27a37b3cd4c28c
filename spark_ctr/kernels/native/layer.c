#include "layer.h"

#include <stdlib.h>
#include <string.h>

#include "arithmetic.h"
#include "memory.h"

/* The least sum in [least, most] at which the sign changes to `wanted`; most + 1 if none is. */
static int64_t first_sum(float scale, float bias, int64_t least, int64_t most, bool wanted) {
    while (least <= most) {
        int64_t middle = least + (most - least) / 2;
        if ((ctr_output((int32_t)middle, scale, bias) > 0.0f) == wanted)
            most = middle - 1;
        else
            least = middle + 1;
    }
    return least;
}

/* Outputs rise or fall with their sums, so that a sign is a comparison of whole numbers. */
static void find_thresholds(struct ctr_layer *layer, int64_t least, int64_t most) {
    for (int32_t n = 0; n < layer->padded; n++) layer->threshold[n] = INT32_MAX;
    for (int32_t n = 0; n < layer->outputs; n++) {
        bool falls = layer->scale[n] < 0.0f;
        layer->threshold[n] =
            (int32_t)first_sum(layer->scale[n], layer->bias[n], least, most, !falls);
        if (falls) layer->flipped[n / 32] |= 1u << (n % 32);
    }
}

struct ctr_layer *ctr_layer_new(const struct ctr_simd *simd, const struct ctr_layer_parts *parts) {
    struct ctr_layer *layer = calloc(1, sizeof *layer);
    if (layer == NULL) return NULL;
    layer->inputs = parts->inputs;
    layer->outputs = parts->outputs;
    layer->padded = (parts->outputs + CTR_PANEL - 1) / CTR_PANEL * CTR_PANEL;
    layer->binary = parts->binary;
    layer->finish = parts->finish;
    layer->rectified = parts->rectified;
    layer->zero = (float)parts->zero_out;
    size_t padded = (size_t)layer->padded, outputs = (size_t)parts->outputs;
    layer->weight = ctr_memory((parts->binary ? simd->binary_bytes
                                              : simd->integer_bytes)(layer->padded, layer->inputs));
    layer->start = ctr_memory(padded * 4);
    layer->scale = ctr_memory(padded * 4);
    layer->bias = ctr_memory(padded * 4);
    layer->inverse = ctr_memory(padded * 4);
    layer->threshold = ctr_memory(padded * 4);
    layer->flipped = ctr_memory(padded / 8);
    if (!layer->weight || !layer->start || !layer->scale || !layer->bias || !layer->inverse ||
        !layer->threshold || !layer->flipped) {
        ctr_layer_free(layer);
        return NULL;
    }
    memcpy(layer->scale, parts->scale, outputs * 4);
    memcpy(layer->bias, parts->bias, outputs * 4);
    if (parts->finish == CTR_LEVELS)
        for (size_t n = 0; n < outputs; n++)
            layer->inverse[n] = parts->inverse[parts->one_inverse ? 0 : n];
    int64_t most = layer->inputs;
    if (parts->binary) {
        simd->binary_pack(layer, parts->weight);
    } else {
        simd->integer_pack(layer, parts->weight);
        const int8_t *index = parts->weight;
        for (size_t n = 0; n < outputs; n++, index += layer->inputs)
            for (int32_t k = 0; k < layer->inputs; k++)
                layer->start[n] -= parts->zero_in * index[k];
        most = (int64_t)255 * 128 * layer->inputs;
    }
    if (parts->finish == CTR_BITS) find_thresholds(layer, -most, most);
    return layer;
}

void ctr_layer_free(struct ctr_layer *layer) {
    if (layer == NULL) return;
    free(layer->weight);
    free(layer->start);
    free(layer->scale);
    free(layer->bias);
    free(layer->inverse);
    free(layer->threshold);
    free(layer->flipped);
    free(layer);
}

void ctr_layer_run(const struct ctr_simd *simd, const struct ctr_layer *layer, const uint8_t *x,
                   size_t x_stride, int rows, uint8_t *staged, uint8_t *out, size_t out_stride) {
    _Alignas(64) int32_t sums[CTR_ROWS * CTR_PANEL];
    _Static_assert(CTR_ROWS * CTR_PANEL >= CTR_FEW * CTR_COLUMNS, "sums of few rows fit");
    /* Few rows take many outputs at a time, so that sums do not wait for one another. */
    bool few = rows < CTR_FEW;
    if (few && simd->few) simd = simd->few;
    if (!few) rows = (rows + simd->tile - 1) / simd->tile * simd->tile;
    size_t bytes = !layer->binary && simd->stage ? simd->staged_bytes(layer->inputs) : 0;
    if (bytes) {
        for (int r = 0; r < rows; r++)
            simd->stage(x + (size_t)r * x_stride, layer->inputs, staged + (size_t)r * bytes);
        x = staged;
        x_stride = bytes;
    }
    int at_once = few ? CTR_COLUMNS : CTR_PANEL;
    for (int first = 0; first < layer->padded; first += at_once) {
        int columns = layer->padded - first < at_once ? layer->padded - first : at_once;
        (layer->binary ? simd->binary_sums : simd->integer_sums)(layer, x, x_stride, rows, first,
                                                                 columns, sums);
        size_t offset = (size_t)first;
        if (layer->finish == CTR_FLOATS || layer->finish == CTR_RELU) offset *= 4;
        if (layer->finish == CTR_BITS) offset /= 8;
        simd->finish[layer->finish](layer, sums, rows, first, columns, out + offset, out_stride);
    }
}
