/* How many instruction sets this processor has, and the operating system saves the registers of:
   each has all of the one before. */
#define _GNU_SOURCE /* syscall */
#include "simd.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* Bits of XCR0: registers of SSE and AVX, those of AVX-512 besides, and tiles. */
#define SAVED_AVX 0x06u
#define SAVED_AVX512 0xe6u
#define SAVED_TILES 0x60000u

static bool has(unsigned register_bits, unsigned wanted) {
    return (register_bits & wanted) == wanted;
}

static unsigned saved_registers(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

#if defined(CTR_AMX)
#include <sys/syscall.h>
#include <unistd.h>

/* Bits of CPUID, and Linux' request to use the registers of tiles, which a process makes once. */
#define HAS_TILES (1u << 24 | 1u << 25)
#define REQUEST 0x1023
#define TILE_DATA 18

static bool has_tiles(unsigned saved, unsigned found) {
    return has(saved, SAVED_TILES) && has(found, HAS_TILES) &&
           syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}
#else
static bool has_tiles(unsigned saved, unsigned found) {
    (void)saved;
    (void)found;
    return false;
}
#endif

static int counted(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE)) return 1;
    unsigned saved = saved_registers();
    if (!has(saved, SAVED_AVX) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 1;
    if (!has(b, bit_AVX2)) return 1;
    bool wide = has(saved, SAVED_AVX512) && has(b, bit_AVX512F | bit_AVX512BW | bit_AVX512VL) &&
                has(c, bit_AVX512VNNI | bit_AVX512VPOPCNTDQ);
    return !wide ? 2 : has_tiles(saved, d) ? 4 : 3;
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
#if defined(CTR_AMX)
        &ctr_amx,
#endif
#elif defined(__aarch64__)
        &ctr_neon,
#endif
    };
    static _Atomic int count; /* counted once, by whichever thread is first */
    if (count == 0) count = counted();
    return position < 0 || position >= count ? NULL : all[position];
}
