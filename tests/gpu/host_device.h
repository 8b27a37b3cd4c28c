// What the CUDA sources use, on the host: the lanes of a warp are fibers that take turns, so they
// meet wherever they exchange values. Warps run one at a time, up to a barrier or their end.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)
#define __shared__
#define __builtin_assume(condition)

struct Index {
    unsigned x;
};
struct int2 {
    int x, y;
};
struct float2 {
    float x, y;
};
struct uint2 {
    unsigned x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

inline Index threadIdx, blockIdx, blockDim = {128};
inline int lane_now;
inline ucontext_t scheduler, threads[128];
inline bool finished[128], waiting[128];
inline std::function<void()> kernel;

// What each lane shows the others; two, since a lane may be one exchange ahead.
struct Shown {
    unsigned words[6];
};
inline Shown shown[2][32];
inline unsigned exchanges[128];

// Shows words to the warp, waits for the others', returns all of them.
inline const Shown *exchange(const Shown &mine) {
    const int lane = lane_now;
    Shown *all = shown[exchanges[threadIdx.x]++ % 2];
    all[lane] = mine;
    swapcontext(&threads[threadIdx.x], &scheduler);
    return all;
}

inline void __syncthreads() {
    waiting[threadIdx.x] = true;
    swapcontext(&threads[threadIdx.x], &scheduler);
}

inline unsigned __shfl_sync(unsigned, unsigned value, int lane) {
    return exchange({{value}})[lane].words[0];
}

inline unsigned __shfl_xor_sync(unsigned, unsigned value, int distance) {
    const int lane = lane_now;
    return exchange({{value}})[lane ^ distance].words[0];
}

inline unsigned __ballot_sync(unsigned, bool value) {
    const Shown *all = exchange({{value}});
    unsigned bits = 0;
    for (int lane = 0; lane < 32; lane++) bits |= all[lane].words[0] << lane;
    return bits;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __int_as_float(int bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
inline float __int2float_rn(int a) { return float(a); }
// Lanes take turns, so nothing comes between.
inline void atomicMin(unsigned long long *least, unsigned long long value) {
    if (value < *least) *least = value;
}

// In place of mma.h: registers of C from those of all lanes' A and B, by the PTX ISA. `product` is
// that of a word of A and one of B.
template <class Product>
inline void add(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, Product product) {
    const int lane = lane_now;
    const Shown *all = exchange({{a[0], a[1], a[2], a[3], b0, b1}});
    for (int r = 0; r < 4; r++) {
        const int row = lane / 4, lower = r / 2, column = lane % 4 * 2 + r % 2;
        for (int t = 0; t < 4; t++) {
            const unsigned *x = all[4 * row + t].words, *w = all[4 * column + t].words + 4;
            sums[r] += product(x[lower], w[0]) + product(x[lower + 2], w[1]);
        }
    }
}

inline void add_common_bits(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    add(sums, a, b0, b1, [](unsigned x, unsigned w) { return __popc(x & w); });
}

// Four levels times four indices.
inline void add_products(int (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    add(sums, a, b0, b1, [](unsigned x, unsigned w) {
        int sum = 0;
        for (int shift = 0; shift < 32; shift += 8)
            sum += int(x >> shift & 255) * static_cast<signed char>(w >> shift & 255);
        return sum;
    });
}

inline void run_thread() {
    kernel();
    finished[threadIdx.x] = true;
}

// Runs a warp until its lanes have finished or wait for the block.
inline void run_warp(int warp) {
    for (bool more = true; more;) {
        more = false;
        for (int lane = 0; lane < 32; lane++) {
            const int thread = warp * 32 + lane;
            if (finished[thread] || waiting[thread]) continue;
            more = true;
            lane_now = lane;
            threadIdx.x = thread;
            swapcontext(&scheduler, &threads[thread]);
        }
    }
}

// Shared memory of a block; `shared_bytes` of it are what a launch gives.
constexpr int MOST_SHARED = 48 << 10, POISON = 0xA5;
alignas(16) uint2 block_memory[MOST_SHARED / sizeof(uint2) + 32];
extern "C" unsigned shared_bytes;
unsigned shared_bytes = 0;

inline void run_block() {
    static char stacks[128][1 << 16];
    for (int thread = 0; thread < 128; thread++) {
        finished[thread] = waiting[thread] = false;
        exchanges[thread] = 0;
        getcontext(&threads[thread]);
        threads[thread].uc_stack.ss_sp = stacks[thread];
        threads[thread].uc_stack.ss_size = sizeof stacks[thread];
        threads[thread].uc_link = &scheduler;
        makecontext(&threads[thread], run_thread, 0);
    }
    // A block finds nothing that another one left.
    memset(block_memory, POISON, sizeof block_memory);
    for (int waited = 1; waited;) {
        for (int warp = 0; warp < 4; warp++) run_warp(warp);
        waited = 0;
        for (bool &one : waiting) {
            waited += one;
            one = false;
        }
        // All of a block meet, or none.
        if (waited % 128) abort();
    }
    const unsigned char *bytes = reinterpret_cast<unsigned char *>(block_memory);
    for (unsigned i = shared_bytes; i < sizeof block_memory; i++)
        if (bytes[i] != POISON) abort();
}

inline void launch(unsigned first_block, unsigned blocks, std::function<void()> function) {
    kernel = function;
    for (blockIdx.x = first_block; blockIdx.x < first_block + blocks; blockIdx.x++) run_block();
}
