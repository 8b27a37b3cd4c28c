// What a look-up knows of a layer of quantised rows and of its columns.
#pragma once

// The id that contributes nothing.
constexpr int PADDING = -2147483647 - 1;

// How the slots of a column become one embedding; COUNTED: a mean of those that are not PADDING.
enum Pooling { SUM, MEAN, COUNTED };

// A column, as spark_ctr.kernels.cuda.embedding.COLUMN.
struct Column {
    long long start, coarse_start;  // first row of its block, among those of 8 and of 4 bits
    int first, last;                // rows of the block that have 4 bits
    int slot, slots;                // where its ids are in a row of ids
    int at;                         // where its embedding begins in a row of the output
    int pooling;
    float scale, offset;
};

// Blocks of rows one after the other: `dim` bytes each, or a factor and nibbles.
struct Rows {
    const signed char *index;
    const unsigned char *nibbles;
    int dim;
};
