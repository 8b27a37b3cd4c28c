// The 1-bit layer by exclusive or and popcount, one output a thread: slow, to check others against
// on a device, nothing else.
#include "layout.h"

// weight is rows of row_words(inputs) words as input is; scale and bias are [outputs].
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    binary_oracle(const unsigned *input, const unsigned *weight, const float *scale,
                  const float *bias, long long rows, int inputs, int outputs, float *y) {
    const long long at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= rows * outputs) return;
    const int n = int(at % outputs);
    const unsigned *a = input + row_offset(at / outputs, inputs);
    const unsigned *b = weight + row_offset(n, inputs);
    int different = 0;
    for (int word = 0; word < row_words(inputs); word++) different += __popc(a[word] ^ b[word]);
    y[at] = __fadd_rn(__fmul_rn(float(inputs - 2 * different), scale[n]), bias[n]);
}
