#include "nibbles.h"

#include <string.h>

#define COUNTS(x)                                                                              \
    {DIFFER(x, 0),  DIFFER(x, 1),  DIFFER(x, 2),  DIFFER(x, 3), DIFFER(x, 4),  DIFFER(x, 5),   \
     DIFFER(x, 6),  DIFFER(x, 7),  DIFFER(x, 8),  DIFFER(x, 9), DIFFER(x, 10), DIFFER(x, 11),  \
     DIFFER(x, 12), DIFFER(x, 13), DIFFER(x, 14), DIFFER(x, 15)}
#define DIFFER(x, y) (BIT((x) ^ (y), 0) + BIT((x) ^ (y), 1) + BIT((x) ^ (y), 2) + BIT((x) ^ (y), 3))
#define BIT(x, i) (((x) >> (i)) & 1)

_Alignas(64) const uint8_t ctr_differences[16][16] = {
    COUNTS(0), COUNTS(1), COUNTS(2),  COUNTS(3),  COUNTS(4),  COUNTS(5),  COUNTS(6),  COUNTS(7),
    COUNTS(8), COUNTS(9), COUNTS(10), COUNTS(11), COUNTS(12), COUNTS(13), COUNTS(14), COUNTS(15),
};

size_t ctr_nibble_bytes(int32_t padded, int32_t inputs) {
    return (size_t)padded * ctr_sign_bytes(inputs) * 2;
}

void ctr_nibble_pack(const struct ctr_layer *layer, const uint8_t *signs) {
    size_t bytes = ctr_sign_bytes(layer->inputs);
    uint8_t *weight = layer->weight;
    memset(weight, 0, ctr_nibble_bytes(layer->padded, layer->inputs));
    for (size_t n = 0; n < (size_t)layer->outputs; n++)
        for (size_t b = 0; b < bytes; b++) {
            uint8_t eight = signs[n * bytes + b];
            uint8_t *at = weight + (n / CTR_PANEL * bytes + b) * 2 * CTR_PANEL + n % CTR_PANEL;
            at[0] = eight & 15;
            at[CTR_PANEL] = eight >> 4;
        }
}
