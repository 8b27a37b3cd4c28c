// The products of the tensor cores, of bits and of bytes.
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

// sums[16 x 8] += a[16 x 32] * b[32 x 8], levels (uint8) times indices (int8), spread over a warp.
__device__ __forceinline__ void add_products(int (&sums)[4], const unsigned (&a)[4], unsigned b0,
                                             unsigned b1) {
    asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
