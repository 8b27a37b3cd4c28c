// What programs compute element by element between layers, levels of numbers, and the check of ids.
//
// Values are rows of float32; `x_row` is the elements from row to row, 0 where all rows are the
// same. A NaN is one wherever the CPU's is, but its bits are those of the device.
#include "arithmetic.h"
#include "axes.h"
#include "ids.h"
#include "span.h"
#include "warp_row.h"

namespace {

enum Pair { ADD, SUBTRACT, MULTIPLY };

__device__ inline float result_of(int kind, float a, float b) {
    return kind == ADD ? __fadd_rn(a, b) : kind == SUBTRACT ? __fsub_rn(a, b) : __fmul_rn(a, b);
}

// Stores a value for each element of a thread in dense rows.
__device__ __forceinline__ void store_dense(const Span &span,
                                            const float (&values)[THREAD_ELEMENTS], float *y) {
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++)
        if (span.has(k)) y[span.at(k)] = values[k];
}

}  // namespace

// 0 where x is below, of `count` elements; y may be x.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    relu_float32(const float *x, long long count, float *y) {
    const long long first = first_of_block();
    float values[THREAD_ELEMENTS];
    // All loads before all stores, which might change what is loaded.
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        const long long at = first + element_of_thread(k);
        values[k] = at < count ? rectified(x[at], 0) : 0;
    }
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        const long long at = first + element_of_thread(k);
        if (at < count) y[at] = values[k];
    }
}

// Sums, differences or products, in dense rows y of axes->total.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    pair_float32(int kind, const float *a, long long a_row, const float *b, long long b_row,
                 const Axes *axes, long long rows, float *y) {
    const Span span = span_of_thread(rows, axes->total);
    int in_a[THREAD_ELEMENTS], in_b[THREAD_ELEMENTS];
    locate(*axes, span.element, in_a, in_b);
    float values[THREAD_ELEMENTS];
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        const float *left = a + span.row[k] * a_row, *right = b + span.row[k] * b_row;
        values[k] = result_of(kind, left[in_a[k]], right[in_b[k]]);
    }
    store_dense(span, values, y);
}

// Elements of x (axes->a) to other places in y (axes->b); the rest of y stays.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    copy_float32(const float *x, long long x_row, const Axes *axes, long long rows, float *y,
                 long long y_row) {
    const Span span = span_of_thread(rows, axes->total);
    int in_x[THREAD_ELEMENTS], in_y[THREAD_ELEMENTS];
    locate(*axes, span.element, in_x, in_y);
    float values[THREAD_ELEMENTS];
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) values[k] = x[span.row[k] * x_row + in_x[k]];
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++)
        if (span.has(k)) y[span.row[k] * y_row + in_y[k]] = values[k];
}

// Sums over the middle one of three axes, in its order, in dense rows y [outer, inner]; a thread a
// sum.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    sum_float32(const float *x, long long x_row, int outer, int count, int inner, long long rows,
                float *y) {
    const int total = outer * inner;
    const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (at >= rows * total) return;
    const long long row = at / total;
    const unsigned element = unsigned(at - row * total);
    const unsigned before = element / inner;
    x += row * x_row + (long long)before * count * inner + (element - before * inner);
    // The first term, not 0 plus it: that would lose the sign of -0.
    float sum = count > 0 ? x[0] : 0;
#pragma unroll 4
    for (int i = 1; i < count; i++) sum = __fadd_rn(sum, x[(long long)i * inner]);
    y[at] = sum;
}

// The listed positions of the middle one of three axes [outer, length, inner], in dense rows y
// [outer, count, inner].
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    take_float32(const float *x, long long x_row, int outer, int length, int inner,
                 const int *positions, int count, long long rows, float *y) {
    const Span span = span_of_thread(rows, outer * count * inner);
    float values[THREAD_ELEMENTS];
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        const unsigned run = unsigned(span.element[k]) / inner;
        const unsigned before = run / count;
        const int run_in_x = int(before) * length + positions[run - before * count];
        const int from = (run_in_x - int(run)) * inner + span.element[k];
        values[k] = x[span.row[k] * x_row + from];
    }
    store_dense(span, values, y);
}

// Levels at, ..., at + count - 1 of rows of row_words(level_bits(width)) words, of x [rows, count]
// without padding; inverse is [width]. The padding becomes 0, other levels are left as they are. A
// warp has a row.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    quantise_levels(const float *x, int count, long long rows, int at, int width,
                    const float *inverse, int zero, unsigned char *y) {
    const long long row = row_of_warp();
    if (row >= rows) return;
    x += row * count;
    y += row_offset(row, level_bits(width)) * 4;
    const int lane = threadIdx.x % LANES;
#pragma unroll 4
    for (int i = lane; i < count; i += LANES)
        y[at + i] = level_of(x[i], inverse[at + i], zero);
    const int behind = width + lane;
    if (behind < row_words(level_bits(width)) * 4) y[behind] = 0;
}

// The first of the dense rows [rows, slots] that has an id which is not valid, if it is before
// *first_bad. Such ids become 0, so that no look-up leaves its table.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    check_ids(int *ids, int slots, const int *lowest, const unsigned *counts,
              const unsigned *padded, long long rows, unsigned long long *first_bad) {
    const Span span = span_of_thread(rows, slots);
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        if (!span.has(k)) continue;
        const int slot = span.element[k];
        int &id = ids[span.row[k] * slots + slot];
        if (is_valid(id, {lowest, counts, padded}, slot)) continue;
        id = 0;
        atomicMin(first_bad, (unsigned long long)span.row[k]);
    }
}
