// Look-up in the tables of one layer of quantised rows: float32, or levels of the next layer.
#include "arithmetic.h"
#include "embedding.h"
#include "layout.h"
#include "look_up.h"
#include "warp_row.h"

namespace {

// Calls store(at, value) with all numbers of all embeddings; a warp has a row of ids.
template <class Store>
__device__ __forceinline__ void look_up(const Rows &table, const int *ids, int ids_width,
                                        const Column *columns, int count, long long row,
                                        Store store) {
    ids += row * ids_width;
#pragma unroll 1
    for (int i = threadIdx.x % LANES; i < count * table.dim; i += LANES) {
        const Column column = columns[i / table.dim];
        const int d = i % table.dim;
        store(column.at + d, embedding_of(table, column, ids + column.slot, d));
    }
}

}  // namespace

// Embeddings in dense rows y [rows, width], of which other columns are left as they are.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    embedding_float32(const int *ids, int ids_width, const Column *columns, int count, int dim,
                      const signed char *index, const unsigned char *nibbles, long long rows,
                      int width, float *y) {
    const long long row = row_of_warp();
    if (row >= rows) return;
    look_up({index, nibbles, dim}, ids, ids_width, columns, count, row,
            [&](int at, float value) { y[row * width + at] = value; });
}

// Their levels in rows of row_words(level_bits(width)) words; inverse is [width]. The padding
// becomes 0, other columns are left as they are.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    embedding_levels(const int *ids, int ids_width, const Column *columns, int count, int dim,
                     const signed char *index, const unsigned char *nibbles, long long rows,
                     int width, const float *inverse, int zero, unsigned char *y) {
    const long long row = row_of_warp();
    if (row >= rows) return;
    y += row_offset(row, level_bits(width)) * 4;
    look_up({index, nibbles, dim}, ids, ids_width, columns, count, row,
            [&](int at, float value) { y[at] = level_of(value, inverse[at], zero); });
    const int at = width + threadIdx.x % LANES;
    if (at < row_words(level_bits(width)) * 4) y[at] = 0;
}
