/* Signs four at a time, for instruction sets that look 16 bytes up but count no bits. */
#ifndef CTR_NIBBLES_H
#define CTR_NIBBLES_H

#include "simd.h"

/* Bytes of inputs whose differences, eight at most each, fit into a byte. */
#define CTR_SIGN_RUN 31

/* [signs of a row][signs of an output]: how many of four differ. */
extern const uint8_t ctr_differences[16][16];

static inline size_t ctr_sign_bytes(int32_t inputs) { return ((size_t)inputs + 7) / 8; }

size_t ctr_nibble_bytes(int32_t padded, int32_t inputs);
/* [padded / 32][bytes][2][32 outputs], four signs in a byte */
void ctr_nibble_pack(const struct ctr_layer *layer, const uint8_t *signs);

#endif
