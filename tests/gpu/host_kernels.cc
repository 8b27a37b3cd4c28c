// The CUDA sources as functions of the host, with the blocks to run before the kernel's arguments.
#include "host_device.h"

#include <cstddef>

#include "binary_linear.cu"
#include "binary_oracle.cu"
#include "elements.cu"
#include "embedding.cu"
#include "integer_linear.cu"
#include "pack_signs.cu"
#include "student.cu"

template <class... Arguments>
constexpr int count_of(void (*)(Arguments...)) {
    return sizeof...(Arguments);
}

#define LAUNCH(kernel, parameters, arguments)                                  \
    extern "C" void host_##kernel parameters {                                 \
        launch(first, blocks, [=] { kernel arguments; });                      \
    }                                                                          \
    extern "C" int count_##kernel() { return count_of(kernel); }

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
LAUNCH(relu_float32,
       (unsigned first, unsigned blocks, const float *x, long long count, float *y), (x, count, y))
LAUNCH(pair_float32,
       (unsigned first, unsigned blocks, int kind, const float *a, long long a_row, const float *b,
        long long b_row, const Axes *axes, long long rows, float *y),
       (kind, a, a_row, b, b_row, axes, rows, y))
LAUNCH(copy_float32,
       (unsigned first, unsigned blocks, const float *x, long long x_row, const Axes *axes,
        long long rows, float *y, long long y_row),
       (x, x_row, axes, rows, y, y_row))
LAUNCH(sum_float32,
       (unsigned first, unsigned blocks, const float *x, long long x_row, int outer, int count,
        int inner, long long rows, float *y),
       (x, x_row, outer, count, inner, rows, y))
LAUNCH(take_float32,
       (unsigned first, unsigned blocks, const float *x, long long x_row, int outer, int length,
        int inner, const int *positions, int count, long long rows, float *y),
       (x, x_row, outer, length, inner, positions, count, rows, y))
LAUNCH(quantise_levels,
       (unsigned first, unsigned blocks, const float *x, int count, long long rows, int at,
        int width, const float *inverse, int zero, unsigned char *y),
       (x, count, rows, at, width, inverse, zero, y))
LAUNCH(check_ids,
       (unsigned first, unsigned blocks, int *ids, int slots, const int *lowest,
        const unsigned *counts, const unsigned *padded, long long rows,
        unsigned long long *first_bad),
       (ids, slots, lowest, counts, padded, rows, first_bad))

LAUNCH(student_float32,
       (unsigned first, unsigned blocks, const Student *student, int *ids, const float *numeric,
        long long rows, unsigned long long *first_bad, float *y),
       (student, ids, numeric, rows, first_bad, y))

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
        case 9: return shared_stride(int(a));
        default: return row_words(int(a));
    }
}

extern "C" const int SIZES[] = {LANES,      WARPS,         TILE_INPUTS, TILE_WORDS,
                                BLOCK_ROWS, BLOCK_COLUMNS, BLOCK_WORDS, PAIR_WORDS,
                                THREADS,    BLOCK_ELEMENTS};

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

extern "C" const int AXES_LAYOUT[] = {
    sizeof(Axes),           offsetof(Axes, count),   offsetof(Axes, total),
    offsetof(Axes, a_first), offsetof(Axes, b_first), offsetof(Axes, length),
    offsetof(Axes, a),       offsetof(Axes, b)};

extern "C" const int LOOK_UP_LAYOUT[] = {
    sizeof(LookUp),
    offsetof(LookUp, column),
    offsetof(LookUp, rows) + offsetof(Rows, index),
    offsetof(LookUp, rows) + offsetof(Rows, nibbles),
    offsetof(LookUp, rows) + offsetof(Rows, dim)};

extern "C" const int STUDENT_LAYER_LAYOUT[] = {
    sizeof(StudentLayer),            offsetof(StudentLayer, weight),
    offsetof(StudentLayer, start),   offsetof(StudentLayer, scale),
    offsetof(StudentLayer, bias),    offsetof(StudentLayer, inverse),
    offsetof(StudentLayer, binary),  offsetof(StudentLayer, finish),
    offsetof(StudentLayer, bits),    offsetof(StudentLayer, outputs),
    offsetof(StudentLayer, relu),    offsetof(StudentLayer, zero)};

extern "C" const int STUDENT_LAYOUT[] = {
    sizeof(Student),
    offsetof(Student, valid) + offsetof(IdRanges, lowest),
    offsetof(Student, valid) + offsetof(IdRanges, counts),
    offsetof(Student, valid) + offsetof(IdRanges, padded),
    offsetof(Student, columns),
    offsetof(Student, source),
    offsetof(Student, inverse),
    offsetof(Student, layers),
    offsetof(Student, slots),
    offsetof(Student, numbers),
    offsetof(Student, width),
    offsetof(Student, zero),
    offsetof(Student, depth),
    offsetof(Student, second)};
