// What the CUDA sources use, on the host: the lanes of a warp are fibers that take turns, so they
// meet wherever they exchange values. Only warps, no shared memory, one warp at a time.
#pragma once
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(threads)

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
inline ucontext_t scheduler, lanes[32];
inline bool finished[32];
inline std::function<void()> kernel;

// What each lane shows the others; two, since a lane may be one exchange ahead.
struct Shown {
    unsigned words[6];
};
inline Shown shown[2][32];
inline unsigned exchanges[32];

// Shows words to the warp, waits for the others', returns all of them.
inline const Shown *exchange(const Shown &mine) {
    const int lane = lane_now;
    Shown *all = shown[exchanges[lane]++ % 2];
    all[lane] = mine;
    swapcontext(&lanes[lane], &scheduler);
    return all;
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

inline void run_lane() {
    kernel();
    finished[lane_now] = true;
}

inline void run_warp(int warp) {
    static char stacks[32][1 << 16];
    int left = 32;
    for (int lane = 0; lane < 32; lane++) {
        finished[lane] = false;
        exchanges[lane] = 0;
        getcontext(&lanes[lane]);
        lanes[lane].uc_stack.ss_sp = stacks[lane];
        lanes[lane].uc_stack.ss_size = sizeof stacks[lane];
        lanes[lane].uc_link = &scheduler;
        makecontext(&lanes[lane], run_lane, 0);
    }
    while (left) {
        for (int lane = 0; lane < 32; lane++) {
            if (finished[lane]) continue;
            lane_now = lane;
            threadIdx.x = warp * 32 + lane;
            swapcontext(&scheduler, &lanes[lane]);
            left -= finished[lane];
        }
    }
}

inline void launch(unsigned first_block, unsigned blocks, std::function<void()> function) {
    kernel = function;
    for (blockIdx.x = first_block; blockIdx.x < first_block + blocks; blockIdx.x++)
        for (int warp = 0; warp < 4; warp++) run_warp(warp);
}
