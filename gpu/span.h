// The elements of a thread, where all rows have as many of them and each is computed by itself.
#pragma once
#include "layout.h"

// A thread has so many, each a block's threads behind the one before: neighbours have neighbours.
constexpr int THREAD_ELEMENTS = 4;
constexpr int THREADS = WARPS * LANES;
constexpr int BLOCK_ELEMENTS = THREADS * THREAD_ELEMENTS;

// The first element of a block, among those of all rows.
__device__ inline long long first_of_block() { return (long long)blockIdx.x * BLOCK_ELEMENTS; }

// Element k of a thread, among those of its block.
__device__ inline int element_of_thread(int k) { return int(threadIdx.x) + k * THREADS; }

// Elements of a thread by their rows.
struct Span {
    long long first;  // the block's, among those of all rows
    int count;        // the block's
    long long row[THREAD_ELEMENTS];
    int element[THREAD_ELEMENTS];  // of its row

    // What is beyond the last element repeats it, and is not to be stored.
    __device__ bool has(int k) const { return element_of_thread(k) < count; }
    __device__ long long at(int k) const { return first + element_of_thread(k); }
};

// Rows of `total` elements, at least 1; the block has at least one of them.
__device__ __forceinline__ Span span_of_thread(long long rows, int total) {
    Span span;
    span.first = first_of_block();
    const long long left = rows * total - span.first;
    span.count = left < BLOCK_ELEMENTS ? int(left) : BLOCK_ELEMENTS;
    // One 64-bit division for all; what is left fits 32 bits.
    const long long row = span.first / total;
    const unsigned behind = unsigned(span.first - row * total);
#pragma unroll
    for (int k = 0; k < THREAD_ELEMENTS; k++) {
        const int own = element_of_thread(k);
        const unsigned element = behind + (own < span.count ? own : span.count - 1);
        const unsigned rows_on = element / unsigned(total);
        span.row[k] = row + rows_on;
        span.element[k] = int(element - rows_on * total);
    }
    return span;
}
