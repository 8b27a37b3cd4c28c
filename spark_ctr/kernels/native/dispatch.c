/* How many instruction sets this processor has, and the operating system saves the registers of:
   each has all of the one before. */
#include "simd.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of XCR0: registers of SSE and AVX, and those of AVX-512 besides. */
#define SAVED_AVX 0x06u
#define SAVED_AVX512 0xe6u

static bool has(unsigned register_bits, unsigned wanted) {
    return (register_bits & wanted) == wanted;
}

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int counted(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE)) return 1;
    unsigned saved = saved_registers();
    if (!has(saved, SAVED_AVX) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    if (!has(b, bit_AVX2)) return 1;
    bool wide = has(saved, SAVED_AVX512) && has(b, bit_AVX512F | bit_AVX512BW | bit_AVX512VL) &&
                has(c, bit_AVX512VNNI | bit_AVX512VPOPCNTDQ);
    return wide ? 3 : 2;
}
#elif defined(__aarch64__)
static int counted(void) { return 2; } /* all of these processors have NEON */
#else
static int counted(void) { return 1; }
#endif

const struct ctr_simd *ctr_simd_at(int position) {
    static const struct ctr_simd *const all[] = {
        &ctr_portable,
#if defined(__x86_64__)
        &ctr_avx2,
        &ctr_avx512,
#elif defined(__aarch64__)
        &ctr_neon,
#endif
    };
    return position < 0 || position >= counted() ? NULL : all[position];
}
