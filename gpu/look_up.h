// Numbers of embeddings, one at a time.
#pragma once
#include "arithmetic.h"
#include "embedding.h"

// Index of number d of a row of a block: a byte, or the nibble and the factor of a coarse row.
__device__ inline int index_of(const Rows &rows, const Column &column, int row, int d) {
    if (row >= column.first && row < column.last) {
        const int half = (rows.dim + 1) / 2;
        const unsigned char *packed =
            rows.nibbles + (column.coarse_start + row - column.first) * (1 + half);
        const bool high = d >= half;
        const int nibble = packed[1 + d - (high ? half : 0)] >> (high ? 4 : 0) & 15;
        return (2 * nibble - 15) * packed[0];
    }
    const int behind = row >= column.last ? column.last - column.first : 0;
    return rows.index[(column.start + row - behind) * rows.dim + d];
}

// Number d of the row that an id names, with its sign.
__device__ inline float term_of(const Rows &rows, const Column &column, int id, int d) {
    // Not by a factor of 0: whatever a row holds, padding is 0.
    if (id == PADDING) return 0;
    const int row = id < 0 ? ~id : id;
    const float value = value_of(index_of(rows, column, row, d), column.scale, column.offset);
    return id < 0 ? -value : value;
}

// Number d of the embedding of a column; `ids` are those of its slots.
__device__ inline float embedding_of(const Rows &rows, const Column &column, const int *ids,
                                     int d) {
    // The first term, not 0 plus it: that would lose the sign of -0.
    float sum = term_of(rows, column, ids[0], d);
    int counted = ids[0] != PADDING;
#pragma unroll 1
    for (int slot = 1; slot < column.slots; slot++) {
        sum = __fadd_rn(sum, term_of(rows, column, ids[slot], d));
        counted += ids[slot] != PADDING;
    }
    if (column.pooling == SUM || column.slots == 1) return sum;
    const int divisor = column.pooling == MEAN ? column.slots : counted > 1 ? counted : 1;
    return __fdiv_rn(sum, __int2float_rn(divisor));
}
