// The 1-bit product of the tensor cores.
#pragma once

// sums[16 x 8] += popcount(a[16 x 256] & b[256 x 8]), spread over a warp. XOR is not used: sm_90
// computes it with two ANDs.
__device__ __forceinline__ void add_common_bits(int (&sums)[4], const unsigned (&a)[4], unsigned b0,
                                                unsigned b1) {
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
