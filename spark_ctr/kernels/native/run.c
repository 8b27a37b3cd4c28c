/* Running of programs, block by block. */
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "program.h"
#include "spark_ctr_native.h"

struct block {
    const struct ctr_program *program;
    const uint8_t *numeric;
    const int32_t *ids;
    uint8_t *staged, *values;
    float *sum;
    int rows;
};

static const uint8_t *row_of(const struct block *block, int32_t number, int row) {
    const struct ctr_value *value = &block->program->values[number];
    if (value->sort == CTR_CONSTANT) return value->constant;
    const uint8_t *start = number == 0
                               ? block->numeric
                               : block->values + value->offset * (size_t)block->program->height;
    return start + (size_t)row * value->stride;
}

static const float *numbers_of(const struct block *block, int32_t number, int row) {
    return (const float *)(const void *)row_of(block, number, row);
}

static uint8_t *result_of(const struct block *block, int32_t number, int row) {
    const struct ctr_value *value = &block->program->values[number];
    return block->values + value->offset * (size_t)block->program->height +
           (size_t)row * value->stride;
}

static float *floats_of(const struct block *block, int32_t number, int row) {
    return (float *)(void *)result_of(block, number, row);
}

static size_t stride_of(const struct block *block, int32_t number) {
    return block->program->values[number].stride;
}

static void run_layer(const struct block *block, const struct ctr_operation *one) {
    const struct ctr_layer *layer = one->layer.layer;
    size_t in = layer->binary ? ((size_t)layer->inputs + 31) / 32 * 4 : (size_t)layer->inputs;
    size_t out = (size_t)layer->outputs * 4;
    if (layer->finish == CTR_LEVELS) out = (size_t)layer->outputs;
    if (layer->finish == CTR_BITS) out = ((size_t)layer->outputs + 31) / 32 * 4;
    const uint8_t *x = row_of(block, one->a, 0);
    uint8_t *y = result_of(block, one->out, 0);
    /* In order: what is written behind a group is overwritten by the next. */
    for (int64_t g = 0; g < one->layer.groups; g++, x += in, y += out)
        ctr_layer_run(block->program->simd, layer, x, stride_of(block, one->a), block->rows,
                      block->staged, y, stride_of(block, one->out));
}

static void run_quantise(const struct block *block, const struct ctr_operation *one) {
    int64_t count = one->quantise.count;
    const float *inverse = one->quantise.inverse;
    if (!one->quantise.one_inverse) inverse += one->quantise.at;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r);
        uint8_t *out = result_of(block, one->out, r) + one->quantise.at;
        for (int64_t g = 0; g < one->quantise.groups; g++, x += count, out += one->quantise.width)
            block->program->simd->quantise(x, inverse, one->quantise.one_inverse,
                                           one->quantise.zero, count, out);
    }
}

static void run_signs(const struct block *block, const struct ctr_operation *one) {
    int64_t count = one->signs.count;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r);
        uint32_t *out = (uint32_t *)(void *)result_of(block, one->out, r);
        for (int64_t g = 0; g < one->signs.groups; g++, x += count, out += (count + 31) / 32)
            block->program->simd->signs(x, count, out);
    }
}

/* Moves two pointers on to the next place of all axes but the last; false behind the last. */
static bool next_place(const struct ctr_axes *axes, int64_t *place, int64_t *a, int64_t *b) {
    for (int i = axes->count - 2; i >= 0; i--) {
        *a += axes->a[i];
        *b += axes->b[i];
        if (++place[i] < axes->length[i]) return true;
        *a -= axes->a[i] * place[i];
        *b -= axes->b[i] * place[i];
        place[i] = 0;
    }
    return false;
}

static bool is_empty(const struct ctr_axes *axes) {
    for (int i = 0; i < axes->count; i++)
        if (axes->length[i] == 0) return true;
    return false;
}

static void run_pair(const struct block *block, const struct ctr_operation *one) {
    const struct ctr_axes *axes = &one->pair.axes;
    int last = axes->count - 1;
    if (is_empty(axes)) return;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r), *y = numbers_of(block, one->b, r);
        float *out = floats_of(block, one->out, r);
        int64_t place[CTR_MOST_AXES] = {0}, a = 0, b = 0;
        do {
            block->program->simd->pair[one->pair.pair](x + a, axes->a[last], y + b, axes->b[last],
                                                       axes->length[last], out);
            out += axes->length[last];
        } while (next_place(axes, place, &a, &b));
    }
}

/* In the order of the axis. Values that share memory, as in no program of ours, are moved. */
static void run_sum(const struct block *block, const struct ctr_operation *one) {
    int64_t inner = one->sum.inner;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r);
        float *out = floats_of(block, one->out, r);
        for (int64_t o = 0; o < one->sum.outer; o++, out += inner) {
            if (one->sum.count == 0) {
                memset(out, 0, (size_t)inner * sizeof *out);
                continue;
            }
            memmove(out, x, (size_t)inner * sizeof *out);
            x += inner;
            for (int64_t i = 1; i < one->sum.count; i++, x += inner)
                block->program->simd->pair[CTR_ADD](out, 1, x, 1, inner, out);
        }
    }
}

static void run_copy(const struct block *block, const struct ctr_operation *one) {
    const struct ctr_axes *axes = &one->copy.axes;
    int last = axes->count - 1;
    if (is_empty(axes)) return;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r) + one->copy.from;
        float *out = floats_of(block, one->out, r) + one->copy.to;
        int64_t place[CTR_MOST_AXES] = {0}, a = 0, b = 0;
        do {
            int64_t length = axes->length[last];
            if (axes->a[last] == 1 && axes->b[last] == 1)
                memmove(out + b, x + a, (size_t)length * sizeof *out);
            else
                for (int64_t i = 0; i < length; i++)
                    out[b + i * axes->b[last]] = x[a + i * axes->a[last]];
        } while (next_place(axes, place, &a, &b));
    }
}

static void run_take(const struct block *block, const struct ctr_operation *one) {
    int64_t inner = one->take.inner;
    for (int r = 0; r < block->rows; r++) {
        const float *x = numbers_of(block, one->a, r);
        float *out = floats_of(block, one->out, r);
        for (int64_t o = 0; o < one->take.outer; o++, x += one->take.length * inner)
            for (int64_t i = 0; i < one->take.count; i++, out += inner)
                memmove(out, x + one->take.positions[i] * inner, (size_t)inner * sizeof *out);
    }
}

void ctr_block_run(const struct ctr_program *program, uint8_t *scratch, const uint8_t *numeric,
                   int rows, float *logits) {
    size_t height = (size_t)program->height;
    struct block block = {.program = program, .numeric = numeric, .rows = rows};
    block.ids = (const int32_t *)(const void *)scratch;
    block.staged = scratch + program->ids_bytes * height;
    block.sum = (float *)(void *)(block.staged + program->staged_bytes * height);
    block.values = (uint8_t *)(void *)block.sum + program->sum_bytes;
    block.values += (CTR_LINE - (uintptr_t)block.values % CTR_LINE) % CTR_LINE;
    for (int32_t i = 0; i < program->operation_count; i++) {
        const struct ctr_operation *one = &program->operations[i];
        switch (one->kind) {
        case CTR_EMBED:
            ctr_embedding_run(program->simd, &one->embed, block.ids, program->slots.count, rows,
                              block.sum, result_of(&block, one->out, 0),
                              stride_of(&block, one->out));
            break;
        case CTR_LAYER: run_layer(&block, one); break;
        case CTR_QUANTISE: run_quantise(&block, one); break;
        case CTR_SIGNS: run_signs(&block, one); break;
        case CTR_RECTIFY:
            for (int r = 0; r < rows; r++)
                program->simd->relu(numbers_of(&block, one->a, r), one->count,
                                    floats_of(&block, one->out, r));
            break;
        case CTR_PAIR: run_pair(&block, one); break;
        case CTR_SUM: run_sum(&block, one); break;
        case CTR_COPY: run_copy(&block, one); break;
        case CTR_TAKE: run_take(&block, one); break;
        case CTR_KINDS: break;
        }
    }
    for (int r = 0; r < rows; r++, logits += program->tasks)
        memcpy(logits, numbers_of(&block, program->logits, r),
               (size_t)program->tasks * sizeof *logits);
}

size_t ctr_scratch_bytes(const struct ctr_program *program) {
    size_t row = program->ids_bytes + program->staged_bytes + program->values_bytes;
    return row * (size_t)program->height + program->sum_bytes + CTR_LINE;
}

int64_t ctr_program_run(struct ctr_program *program, const void *ids, int id_bytes,
                        const float *numeric, int64_t rows, float *logits) {
    /* The program has scratch memory for one thread; others that come meanwhile take their own. */
    uint8_t *scratch = atomic_exchange(&program->scratch, NULL);
    if (scratch == NULL) scratch = ctr_memory(ctr_scratch_bytes(program));
    if (scratch == NULL) return -2;
    int64_t wrong = -1;
    if (program->simd->begin) program->simd->begin();
    for (int64_t start = 0; start < rows && wrong < 0; start += program->height) {
        int64_t left = rows - start;
        int height = (int)(left < program->height ? left : program->height);
        int64_t first = start * program->slots.count;
        int32_t *checked = (int32_t *)(void *)scratch;
        if (id_bytes == 4)
            wrong = program->simd->ids(&program->slots, (const int32_t *)ids + first, height,
                                       checked);
        else
            wrong = program->simd->long_ids(&program->slots, (const int64_t *)ids + first, height,
                                            checked);
        if (wrong >= 0)
            wrong += start;
        else
            ctr_block_run(program, scratch,
                          (const uint8_t *)(numeric + start * program->numbers), height,
                          logits + start * program->tasks);
    }
    if (program->simd->end) program->simd->end();
    free(atomic_exchange(&program->scratch, scratch));
    return wrong;
}

const char *ctr_instruction_set(int position) {
    const struct ctr_simd *simd = ctr_simd_at(position);
    return simd == NULL ? NULL : simd->name;
}
