/* Which instruction sets this processor has. */
#include "simd.h"

int ctr_simd_count(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2")) return 1;
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
                __builtin_cpu_supports("avx512vpopcntdq");
    return wide ? 3 : 2;
#elif defined(__aarch64__)
    return 2; /* all of these processors have NEON */
#else
    return 1;
#endif
}

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
    return position < 0 || position >= ctr_simd_count() ? NULL : all[position];
}
