// Signs of activations: 1 where x > 0, so not for zero and NaN.
#include "layout.h"
#include "warp_row.h"

namespace {

__device__ bool positive(float x) { return x > 0; }

// The bits of an IEEE half: above +0, up to +infinity.
__device__ bool positive(unsigned short half) { return half > 0 && half <= 0x7c00; }

// A warp packs a row: x [rows, inputs] without padding, y rows of row_words(inputs) words.
template <class Value>
__device__ void pack(const Value *x, long long rows, int inputs, unsigned *y) {
    const int lane = threadIdx.x % LANES;
    const long long row = row_of_warp();
    if (row >= rows) return;
    x += row * inputs;
    y += row_offset(row, inputs);
    for (int tile = 0; tile < input_tiles(inputs); tile++) {
        unsigned mine = 0;
#pragma unroll
        for (int word = 0; word < TILE_WORDS; word++) {
            const int k = tile * TILE_INPUTS + word * LANES + lane;
            const unsigned bits = __ballot_sync(~0u, k < inputs && positive(x[k]));
            if (lane == word) mine = bits;
        }
        if (lane < TILE_WORDS) y[tile * TILE_WORDS + lane] = mine;
    }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    pack_signs_float32(const float *x, long long rows, int inputs, unsigned *y) {
    pack(x, rows, inputs, y);
}

extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    pack_signs_float16(const unsigned short *x, long long rows, int inputs, unsigned *y) {
    pack(x, rows, inputs, y);
}
