// A student: columns and numbers to levels, and layers that each read the one before.
#pragma once
#include "embedding.h"
#include "ids.h"
#include "layout.h"

// A column and the layer of rows that it reads, as spark_ctr.kernels.cuda.student.LOOK_UP.
struct LookUp {
    Column column;
    Rows rows;
};

// What becomes of the sums of a layer.
enum Finish { FLOAT32, LEVELS, SIGNS };

// As spark_ctr.kernels.cuda.student.STUDENT_LAYER; what a kernel of a single layer takes.
struct StudentLayer {
    const unsigned *weight;
    const int *start;  // of the sums; offset or threshold of a 1-bit layer
    const float *scale, *bias, *inverse;
    int binary, finish, bits, outputs;  // `bits` are those of a row that it reads
    int relu, zero;
};

// As spark_ctr.kernels.cuda.student.STUDENT.
struct Student {
    IdRanges valid;
    const LookUp *columns;
    const int *source;     // of each level: the position of its column, or ~i of number i
    const float *inverse;  // of each level
    const StudentLayer *layers;
    int slots, numbers;  // of a row of the inputs
    int width, zero;     // of the levels
    int depth;           // layers
    int second;          // where the second buffer begins, in words
};

// Words from row to row in shared memory: an odd number of tiles, so that the 16 lanes of half a
// load, 8 bytes of 4 rows, have all 32 banks.
__device__ inline int shared_stride(int bits) { return row_words(bits) | TILE_WORDS; }
