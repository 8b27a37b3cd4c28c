/* Sums, numbers and rows of tables to what layers read, in plain C; included after elements.h. */

static void finish_floats(const struct ctr_layer *layer, const int32_t *sums, int rows, int first,
                          int columns, uint8_t *out, size_t stride) {
    const float *scale = layer->scale + first, *bias = layer->bias + first;
    for (int r = 0; r < rows; r++, sums += columns, out += stride) {
        float *y = (float *)(void *)out;
        for (int c = 0; c < columns; c++) y[c] = ctr_output(sums[c], scale[c], bias[c]);
    }
}

static void finish_relu(const struct ctr_layer *layer, const int32_t *sums, int rows, int first,
                        int columns, uint8_t *out, size_t stride) {
    finish_floats(layer, sums, rows, first, columns, out, stride);
    for (int r = 0; r < rows; r++, out += stride) {
        float *y = (float *)(void *)out;
        for (int c = 0; c < columns; c++) y[c] = ctr_relu(y[c]);
    }
}

static void finish_levels(const struct ctr_layer *layer, const int32_t *sums, int rows, int first,
                          int columns, uint8_t *out, size_t stride) {
    const float *scale = layer->scale + first, *bias = layer->bias + first;
    const float *inverse = layer->inverse + first;
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c++) {
            float y = ctr_output(sums[c], scale[c], bias[c]);
            if (layer->rectified) y = ctr_relu(y);
            out[c] = ctr_level(y, inverse[c], layer->zero);
        }
}

static void finish_bits(const struct ctr_layer *layer, const int32_t *sums, int rows, int first,
                        int columns, uint8_t *out, size_t stride) {
    const int32_t *threshold = layer->threshold + first;
    const uint32_t *flipped = layer->flipped + first / 32;
    for (int r = 0; r < rows; r++, sums += columns, out += stride)
        for (int c = 0; c < columns; c += 32) {
            uint32_t bits = flipped[c / 32];
            for (int i = 0; i < 32; i++) bits ^= (uint32_t)(sums[c + i] >= threshold[c + i]) << i;
            memcpy(out + c / 8, &bits, 4);
        }
}

static void signs(const float *x, int64_t count, uint32_t *bits) {
    for (int64_t i = 0; i < count; i += 32) {
        uint32_t word = 0;
        int64_t most = count - i < 32 ? count - i : 32;
        for (int64_t j = 0; j < most; j++) word |= (uint32_t)(x[i + j] > 0.0f) << j;
        *bits++ = word;
    }
}

static void quantise(const float *restrict x, const float *restrict inverse, bool one,
                     float zero, int64_t count, uint8_t *restrict out) {
    if (one) {
        float same = inverse[0];
        for (int64_t i = 0; i < count; i++) out[i] = ctr_level(x[i], same, zero);
    } else {
        for (int64_t i = 0; i < count; i++) out[i] = ctr_level(x[i], inverse[i], zero);
    }
}

static void levels(const int8_t *restrict row, float scale, float offset,
                              const float *restrict inverse, bool one, float zero, int64_t count,
                              uint8_t *restrict out) {
    if (one) {
        float same = inverse[0];
        for (int64_t i = 0; i < count; i++)
            out[i] = ctr_level(ctr_value(row[i], scale, offset), same, zero);
    } else {
        for (int64_t i = 0; i < count; i++)
            out[i] = ctr_level(ctr_value(row[i], scale, offset), inverse[i], zero);
    }
}
