// The row of a warp, where each warp has a row.
#pragma once
#include "layout.h"

__device__ inline long long row_of_warp() {
    return (long long)blockIdx.x * WARPS + threadIdx.x / LANES;
}
