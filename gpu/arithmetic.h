// The arithmetic of docs/packed_format.md; nothing is fused, since the CPU rounds twice.
#pragma once

// What a layer makes of the exact sum of an output.
__device__ inline float output_of(int sum, float scale, float bias) {
    return __fadd_rn(__fmul_rn(__int2float_rn(sum), scale), bias);
}

// What `rectified` takes to be relu, or to change nothing.
__device__ inline float least_output(bool relu) { return relu ? 0 : -__int_as_float(0x7f800000); }

// x where it is above the least, else that; NaN stays.
__device__ inline float rectified(float x, float least) { return x <= least ? least : x; }

// Level in [0, 255], half to even. The maximum takes the 0 where the other is NaN.
__device__ inline unsigned level_of(float x, float inverse, float zero) {
    const float level = __fadd_rn(rintf(__fmul_rn(x, inverse)), zero);
    return unsigned(fminf(fmaxf(level, 0), 255));
}

// The number that an index of a table stands for; the offset is minimum + 128 * scale.
__device__ inline float value_of(int index, float scale, float offset) {
    return __fadd_rn(__fmul_rn(__int2float_rn(index), scale), offset);
}
