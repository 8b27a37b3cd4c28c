/* What the kernels of one instruction set offer. Each set has a file of its own. */
#ifndef CTR_SIMD_H
#define CTR_SIMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CTR_ROWS = 64,     /* most rows of a block: what they need stays in the cache */
    CTR_TILE = 8,      /* rows of a product at a time, where sums are kept in registers */
    CTR_HIGH = 16,     /* most rows of a product; heights of buffers are multiples of it */
    CTR_PANEL = 32,    /* outputs of layers are padded to a multiple of it */
    CTR_COLUMNS = 128, /* most outputs at a time, for few rows */
    CTR_FEW = 4,       /* rows below it are few */
    CTR_SLACK = 32,    /* elements behind each row of a buffer that kernels may overwrite */
};

/* What becomes of the sums of a layer. */
enum ctr_finish { CTR_FLOATS, CTR_RELU, CTR_LEVELS, CTR_BITS, CTR_FINISHES };

struct ctr_layer {
    int32_t inputs, outputs;
    int32_t padded; /* outputs, and zeros up to a multiple of CTR_PANEL */
    bool binary;
    enum ctr_finish finish;
    bool rectified;      /* levels: of the ReLU of the outputs */
    void *weight;        /* as the kernels want it */
    int32_t *start;      /* [padded] sum of no inputs: -zero * (sum of the weights) */
    float *scale, *bias; /* [padded] */
    float *inverse;      /* [padded], for levels */
    float zero;          /* of the levels that come out */
    int32_t *threshold;  /* [padded] the sign is + where sum >= threshold, ... */
    uint32_t *flipped;   /* [padded / 32] ... but for these outputs, where it is the opposite */
};

#define CTR_PADDING INT32_MIN

/* Ids that a slot may hold: [lowest, lowest + count), and CTR_PADDING where it is padded. */
struct ctr_slots {
    int32_t count;
    int32_t *lowest;
    uint32_t *counts;
    uint32_t *padded; /* all bits set, or none */
};

enum ctr_pair { CTR_ADD, CTR_SUBTRACT, CTR_MULTIPLY, CTR_PAIRS };

struct ctr_simd {
    const char *name;
    /* Bytes of a weight, and its packing from [outputs, inputs] int8 or [outputs, bytes] signs. */
    size_t (*integer_bytes)(int32_t padded, int32_t inputs);
    void (*integer_pack)(const struct ctr_layer *, const int8_t *index);
    size_t (*binary_bytes)(int32_t padded, int32_t inputs);
    void (*binary_pack)(const struct ctr_layer *, const uint8_t *signs);
    /* Bytes of a row of inputs as `integer_sums` wants them; NULL where it wants the levels. */
    size_t (*staged_bytes)(int32_t inputs);
    void (*stage)(const uint8_t *levels, int32_t inputs, void *staged);
    /* Rows of a product at a time. */
    int tile;
    /* Kernels that are quicker for few rows, with the same weights; NULL where these are. */
    const struct ctr_simd *few;
    /* Called by a thread before and after it runs a program; NULL where nothing is to be done. */
    void (*begin)(void);
    void (*end)(void);
    /* Sums of rows of inputs, `stride` bytes apart, from output `first` on: [rows][columns].
       `columns` is a multiple of CTR_PANEL up to CTR_COLUMNS. */
    void (*integer_sums)(const struct ctr_layer *, const uint8_t *x, size_t stride, int rows,
                         int first, int columns, int32_t *sums);
    void (*binary_sums)(const struct ctr_layer *, const uint8_t *x, size_t stride, int rows,
                        int first, int columns, int32_t *sums);
    /* What becomes of them; `out` is where output `first` of the first row goes. Whole columns are
       written, those of the padding too. */
    void (*finish[CTR_FINISHES])(const struct ctr_layer *, const int32_t *sums, int rows, int first,
                                 int columns, uint8_t *out, size_t stride);
    /* Copies ids of 4 or 8 bytes; returns the first row with one that is not valid, or -1. */
    int64_t (*ids)(const struct ctr_slots *, const int32_t *ids, int64_t rows, int32_t *out);
    int64_t (*long_ids)(const struct ctr_slots *, const int64_t *ids, int64_t rows, int32_t *out);
    /* Element by element. Strides are in elements, 0 or 1 mostly. */
    void (*quantise)(const float *x, const float *inverse, bool one, float zero, int64_t count,
                     uint8_t *out);
    void (*signs)(const float *x, int64_t count, uint32_t *bits);
    void (*relu)(const float *x, int64_t count, float *out);
    void (*pair[CTR_PAIRS])(const float *a, int64_t a_stride, const float *b, int64_t b_stride,
                            int64_t count, float *out);
    /* Rows of tables: their numbers, those times a sign on top of others, or their levels. */
    void (*values)(const int8_t *row, float scale, float offset, int64_t count, float *out);
    void (*more_values)(const int8_t *row, float scale, float offset, bool negative, int64_t count,
                        float *out);
    void (*levels)(const int8_t *row, float scale, float offset, const float *inverse, bool one,
                   float zero, int64_t count, uint8_t *out);
};

extern const struct ctr_simd ctr_portable;
#if defined(__x86_64__)
extern const struct ctr_simd ctr_avx2, ctr_avx512;
#if defined(__linux__) && defined(__has_include)
#if __has_include(<amxint8intrin.h>)
#define CTR_AMX
extern struct ctr_simd ctr_amx;
#endif
#endif
#endif
#if defined(__aarch64__)
extern const struct ctr_simd ctr_neon;
#endif

/* Instruction sets from the plainest to the best that this processor has; NULL behind it. */
const struct ctr_simd *ctr_simd_at(int position);

#endif
