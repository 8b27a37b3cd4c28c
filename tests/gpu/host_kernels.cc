// The CUDA sources as functions of the host, with the blocks to run before the kernel's arguments.
#include "host_device.h"

#include <cstddef>

#include "binary_linear.cu"
#include "binary_oracle.cu"
#include "embedding.cu"
#include "integer_linear.cu"
#include "pack_signs.cu"

#define LAUNCH(kernel, parameters, arguments)                                  \
    extern "C" void host_##kernel parameters {                                 \
        launch(first, blocks, [=] { kernel arguments; });                      \
    }

LAUNCH(binary_linear_float32,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const int *offset,
        const float *scale, const float *bias, long long rows, int inputs, int outputs, int relu,
        float *y),
       (x, w, offset, scale, bias, rows, inputs, outputs, relu, y))
LAUNCH(binary_linear_levels,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const int *offset,
        const float *scale, const float *bias, long long rows, int inputs, int outputs, int relu,
        const float *inverse, int zero, unsigned *y),
       (x, w, offset, scale, bias, rows, inputs, outputs, relu, inverse, zero, y))
LAUNCH(binary_linear_signs,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w,
        const int *threshold, long long rows, int inputs, int outputs, unsigned *y),
       (x, w, threshold, rows, inputs, outputs, y))
LAUNCH(binary_oracle,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const float *scale,
        const float *bias, long long rows, int inputs, int outputs, float *y),
       (x, w, scale, bias, rows, inputs, outputs, y))
LAUNCH(pack_signs_float32,
       (unsigned first, unsigned blocks, const float *x, long long rows, int inputs, unsigned *y),
       (x, rows, inputs, y))
LAUNCH(pack_signs_float16,
       (unsigned first, unsigned blocks, const unsigned short *x, long long rows, int inputs,
        unsigned *y),
       (x, rows, inputs, y))

LAUNCH(integer_linear_float32,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const int *start,
        const float *scale, const float *bias, long long rows, int inputs, int outputs, int relu,
        float *y),
       (x, w, start, scale, bias, rows, inputs, outputs, relu, y))
LAUNCH(integer_linear_levels,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const int *start,
        const float *scale, const float *bias, long long rows, int inputs, int outputs, int relu,
        const float *inverse, int zero, unsigned *y),
       (x, w, start, scale, bias, rows, inputs, outputs, relu, inverse, zero, y))
LAUNCH(integer_linear_signs,
       (unsigned first, unsigned blocks, const unsigned *x, const unsigned *w, const int *start,
        const float *scale, const float *bias, long long rows, int inputs, int outputs,
        unsigned *y),
       (x, w, start, scale, bias, rows, inputs, outputs, y))
LAUNCH(embedding_float32,
       (unsigned first, unsigned blocks, const int *ids, int ids_width, const Column *columns,
        int count, int dim, const signed char *index, const unsigned char *nibbles, long long rows,
        int width, float *y),
       (ids, ids_width, columns, count, dim, index, nibbles, rows, width, y))
LAUNCH(embedding_levels,
       (unsigned first, unsigned blocks, const int *ids, int ids_width, const Column *columns,
        int count, int dim, const signed char *index, const unsigned char *nibbles, long long rows,
        int width, const float *inverse, int zero, unsigned char *y),
       (ids, ids_width, columns, count, dim, index, nibbles, rows, width, inverse, zero, y))

// layout.h, to compare with Python's copies.
extern "C" long long layout(int what, long long a, int b, int c, int d, int e) {
    switch (what) {
        case 0: return row_offset(a, b);
        case 1: return weight_offset(int(a), b, c, d, e);
        case 2: return lane_row(int(a), b);
        case 3: return lane_column(int(a));
        case 4: return lane_word(int(a));
        case 5: return lane_output(int(a), b);
        case 6: return column_blocks(int(a));
        case 8: return level_bits(int(a));
        default: return row_words(int(a));
    }
}

extern "C" const int SIZES[] = {LANES,      WARPS,         TILE_INPUTS, TILE_WORDS,
                                BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_WORDS, PAIR_WORDS};

// level_of, number by number.
extern "C" void host_levels(const float *x, const float *inverse, int zero, int count,
                            unsigned char *y) {
    for (int i = 0; i < count; i++) y[i] = level_of(x[i], inverse[i], zero);
}

extern "C" const int COLUMN_LAYOUT[] = {
    sizeof(Column),           offsetof(Column, start), offsetof(Column, coarse_start),
    offsetof(Column, first),  offsetof(Column, last),  offsetof(Column, slot),
    offsetof(Column, slots),  offsetof(Column, at),    offsetof(Column, pooling),
    offsetof(Column, scale),  offsetof(Column, offset)};
