/* Zeroed memory for kernels: aligned to a cache line, with one to spare behind it. */
#ifndef CTR_MEMORY_H
#define CTR_MEMORY_H

#include <stdlib.h>
#include <string.h>

#define CTR_LINE 64

static inline void *ctr_memory(size_t bytes) {
    size_t rounded = (bytes + 2 * CTR_LINE - 1) / CTR_LINE * CTR_LINE;
    void *memory = rounded < bytes ? NULL : aligned_alloc(CTR_LINE, rounded);
    if (memory != NULL) memset(memory, 0, rounded);
    return memory;
}

#endif
