// A loop over the elements of a row of two arrays that do not lie alike.
#pragma once

constexpr int MOST_AXES = 8;

// As spark_ctr.kernels.cuda.axes.AXES, in elements; `total` is the product of the lengths.
struct Axes {
    int count, total;
    int a_first, b_first;
    int length[MOST_AXES], a[MOST_AXES], b[MOST_AXES];  // strides are 0 where elements repeat
};

// Where elements lie in both arrays, counted from the beginning of a row; `element` counts them in
// the order of the axes, the last one fastest.
template <int N>
__device__ __forceinline__ void locate(const Axes &axes, const int (&element)[N], int (&a)[N],
                                       int (&b)[N]) {
    unsigned left[N];
#pragma unroll
    for (int k = 0; k < N; k++) {
        left[k] = element[k];
        a[k] = axes.a_first;
        b[k] = axes.b_first;
    }
    // Axis by axis, so that all elements are divided by the same number.
#pragma unroll 1
    for (int i = axes.count - 1; i > 0; i--) {
        const unsigned length = axes.length[i];
        const int a_stride = axes.a[i], b_stride = axes.b[i];
#pragma unroll
        for (int k = 0; k < N; k++) {
            const unsigned before = left[k] / length;
            const int place = left[k] - before * length;
            a[k] += place * a_stride;
            b[k] += place * b_stride;
            left[k] = before;
        }
    }
#pragma unroll
    for (int k = 0; k < N; k++) {
        a[k] += int(left[k]) * axes.a[0];
        b[k] += int(left[k]) * axes.b[0];
    }
}
