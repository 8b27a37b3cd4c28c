// Which ids are valid.
#pragma once
#include "embedding.h"

// Of each slot, as spark_ctr.kernels.cuda.ids.IdRanges: `counts` ids from the lowest one on, and
// PADDING where `padded` is not 0.
struct IdRanges {
    const int *lowest;
    const unsigned *counts, *padded;
};

__device__ __forceinline__ bool is_valid(int id, const IdRanges &ranges, int slot) {
    const bool inside = unsigned(id) - unsigned(ranges.lowest[slot]) < ranges.counts[slot];
    const bool padding = id == PADDING && ranges.padded[slot] != 0;
    return inside || padding;
}
