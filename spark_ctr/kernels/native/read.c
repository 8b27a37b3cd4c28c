/* Reading of programs: every number is checked before anything relies on it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "program.h"
#include "spark_ctr_native.h"

#define MOST_OPERATIONS (1 << 18)
#define MOST_ELEMENTS ((int64_t)1 << 22)
#define MOST_SLOTS (1 << 20)
#define MOST_ROWS INT32_MAX
#define MOST_INPUTS (1 << 15)        /* of an integer layer: sums fit int32 */
#define MOST_SIGNS ((1 << 24) - 1)   /* of a 1-bit layer: float32 holds the sums */
#define MOST_SCRATCH ((int64_t)1 << 28)

struct reader {
    const int64_t *words;
    int64_t count, at;
    const struct ctr_array *arrays;
    int64_t array_count;
    struct ctr_program *program;
    bool failed;
    char *message;
    size_t message_bytes;
};

static void fail(struct reader *r, const char *format, ...) {
    if (r->failed) return;
    r->failed = true;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->message, r->message_bytes, format, arguments);
    va_end(arguments);
}

static int64_t whole(struct reader *r, const char *what, int64_t least, int64_t most) {
    if (r->failed) return least;
    if (r->at >= r->count) {
        fail(r, "the program ends before %s", what);
        return least;
    }
    int64_t word = r->words[r->at++];
    if (word < least || word > most) {
        fail(r, "%s is %lld, expected [%lld, %lld]", what, (long long)word, (long long)least,
             (long long)most);
        return least;
    }
    return word;
}

/* An array of a known number of bytes. */
static const void *array(struct reader *r, const char *what, int64_t bytes) {
    int64_t number = whole(r, what, 0, r->array_count - 1);
    if (r->failed) return NULL;
    const struct ctr_array *found = &r->arrays[number];
    if (found->bytes != bytes || found->data == NULL) {
        fail(r, "%s has %lld bytes, expected %lld", what, (long long)found->bytes,
             (long long)bytes);
        return NULL;
    }
    return found->data;
}

/* Memory that is freed with the program. */
static void *keep(struct reader *r, void *memory) {
    struct ctr_program *program = r->program;
    void **more = memory == NULL ? NULL
                                 : realloc(program->kept, ((size_t)program->kept_count + 1) *
                                                              sizeof *program->kept);
    if (more == NULL) {
        free(memory);
        fail(r, "memory is short");
        return NULL;
    }
    program->kept = more;
    program->kept[program->kept_count++] = memory;
    return memory;
}

static void *kept_memory(struct reader *r, size_t bytes) {
    return r->failed ? NULL : keep(r, ctr_memory(bytes));
}

static const float *kept_floats(struct reader *r, const char *what, int64_t count) {
    const void *found = array(r, what, count * 4);
    float *copy = kept_memory(r, (size_t)count * 4);
    if (copy != NULL) memcpy(copy, found, (size_t)count * 4);
    return copy;
}

/* A value of a sort with at least so many elements; numbers may be constants where `reads`. */
static int32_t value(struct reader *r, const char *what, enum ctr_sort sort, int64_t elements,
                     bool reads) {
    int32_t number = (int32_t)whole(r, what, reads ? 0 : 1, r->program->value_count - 1);
    if (r->failed) return 0;
    const struct ctr_value *found = &r->program->values[number];
    bool fits = found->sort == sort ||
                (reads && sort == CTR_NUMBERS && found->sort == CTR_CONSTANT);
    if (!fits || found->elements < elements)
        fail(r, "%s is value %d of sort %d and %lld elements, expected sort %d and %lld", what,
             number, (int)found->sort, (long long)found->elements, (int)sort,
             (long long)elements);
    return number;
}

static void read_columns(struct reader *r, int32_t *columns, struct ctr_column **described) {
    struct ctr_slots *slots = &r->program->slots;
    *columns = (int32_t)whole(r, "number of columns", 0, MOST_SLOTS);
    *described = kept_memory(r, (size_t)*columns * sizeof **described);
    int32_t total = (int32_t)whole(r, "number of slots", 0, MOST_SLOTS);
    slots->lowest = kept_memory(r, (size_t)total * 4);
    slots->counts = kept_memory(r, (size_t)total * 4);
    slots->padded = kept_memory(r, (size_t)total * 4);
    slots->count = 0;
    for (int32_t c = 0; c < *columns && !r->failed; c++) {
        struct ctr_column *column = &(*described)[c];
        int64_t rows = whole(r, "rows of a column", 1, MOST_ROWS);
        column->slots = (int32_t)whole(r, "slots of a column", 1, total - slots->count);
        bool negative = whole(r, "signed", 0, 1), padded = whole(r, "padded", 0, 1);
        column->mean = whole(r, "mean", 0, 1);
        column->marked = negative || padded;
        column->counted = column->mean && padded;
        column->first_slot = slots->count;
        for (int32_t s = 0; s < column->slots && !r->failed; s++) {
            slots->lowest[slots->count] = negative ? (int32_t)-rows : 0;
            slots->counts[slots->count] = (uint32_t)(negative ? 2 * rows : rows);
            slots->padded[slots->count++] = padded ? UINT32_MAX : 0;
        }
        column->dim = rows; /* until an embedding says more */
    }
    if (slots->count != total) fail(r, "columns have %d slots of %d", slots->count, total);
    r->program->ids_bytes = (size_t)total * 4;
}

static size_t element_bytes(enum ctr_sort sort) { return sort == CTR_LEVEL_BYTES ? 1 : 4; }

static void read_values(struct reader *r) {
    struct ctr_program *program = r->program;
    program->value_count = 1 + (int32_t)whole(r, "number of values", 0, MOST_OPERATIONS);
    program->values = kept_memory(r, (size_t)program->value_count * sizeof *program->values);
    if (r->failed) return;
    program->values[0] = (struct ctr_value){.sort = CTR_NUMBERS,
                                            .elements = program->numbers,
                                            .stride = (size_t)program->numbers * 4};
    for (int32_t i = 1; i < program->value_count && !r->failed; i++) {
        struct ctr_value *made = &program->values[i];
        made->sort = (enum ctr_sort)whole(r, "sort of a value", 0, CTR_SORTS - 1);
        made->elements = whole(r, "elements of a value", 0, MOST_ELEMENTS);
        if (made->sort == CTR_CONSTANT) {
            made->constant = (uint8_t *)kept_floats(r, "a constant", made->elements);
            continue;
        }
        size_t bytes = ((size_t)made->elements + CTR_SLACK) * element_bytes(made->sort);
        made->stride = (bytes + CTR_LINE - 1) / CTR_LINE * CTR_LINE;
        made->offset = (size_t)whole(r, "offset of a value", 0, MOST_SCRATCH);
        if (made->offset % CTR_LINE) fail(r, "offset %zu of a value is odd", made->offset);
        size_t end = made->offset + made->stride;
        if (end > program->values_bytes) program->values_bytes = end;
    }
}

/* The rows of a column's table; its width is known, its number of rows in `rows`. */
static void read_rows(struct reader *r, struct ctr_column *column, int64_t rows) {
    struct ctr_coarse *coarse = &column->coarse;
    *coarse = (struct ctr_coarse){.first = INT64_MAX, .last = INT64_MAX};
    if (whole(r, "rows of 4 bits", 0, 1)) {
        coarse->first = whole(r, "first row of 4 bits", 0, rows);
        coarse->last = whole(r, "last row of 4 bits", coarse->first, rows);
        int64_t few = coarse->last - coarse->first, bytes = ctr_coarse_bytes(column->dim);
        int64_t all = whole(r, "rows of a table of 4 bits", few, INT64_MAX >> 24);
        int64_t start = whole(r, "first row", 0, all - few);
        const uint8_t *table = array(r, "a table of 4 bits", all * bytes);
        if (r->failed) return;
        coarse->rows = table + start * bytes;
        rows -= few;
    }
    int64_t all = whole(r, "rows of a table", rows, INT64_MAX >> 24);
    int64_t start = whole(r, "first row", 0, all - rows);
    const int8_t *table = array(r, "a table", all * column->dim);
    if (!r->failed) column->rows = table + start * column->dim;
}

static void read_embed(struct reader *r, struct ctr_operation *made, int32_t column_count,
                       const struct ctr_column *described) {
    struct ctr_embedding *embed = &made->embed;
    bool levels = whole(r, "levels", 0, 1);
    int64_t width = whole(r, "width of a look-up", 0, MOST_ELEMENTS);
    made->out = value(r, "a look-up", levels ? CTR_LEVEL_BYTES : CTR_NUMBERS, width, false);
    if (levels) {
        embed->zero = (float)whole(r, "zero", 0, 255);
        embed->one_inverse = whole(r, "one inverse", 0, 1);
        embed->inverse = kept_floats(r, "inverse", embed->one_inverse ? 1 : width);
    }
    embed->count = (int32_t)whole(r, "columns of a look-up", 0, MOST_SLOTS);
    embed->columns = kept_memory(r, (size_t)embed->count * sizeof *embed->columns);
    for (int32_t c = 0; c < embed->count && !r->failed; c++) {
        int64_t number = whole(r, "a column", 0, column_count - 1);
        if (r->failed) return;
        struct ctr_column *column = &embed->columns[c];
        *column = described[number];
        int64_t rows = column->dim;
        column->dim = whole(r, "width of a table", 0, MOST_ELEMENTS);
        column->at = whole(r, "place of a column", 0, width - column->dim);
        const float *map = array(r, "scale and offset", 8);
        read_rows(r, column, rows);
        if (r->failed) return;
        column->scale = map[0];
        column->offset = map[1];
        size_t bytes = ctr_embedding_bytes(column->dim);
        if (bytes > r->program->sum_bytes) r->program->sum_bytes = bytes;
    }
    if (!r->failed) ctr_embedding_prepare(embed);
}

static int64_t words_of(int64_t signs) { return (signs + 31) / 32; }

static void read_layer(struct reader *r, struct ctr_operation *made) {
    struct ctr_layer_parts parts = {0};
    parts.binary = whole(r, "binary", 0, 1);
    parts.finish = (enum ctr_finish)whole(r, "finish", 0, CTR_FINISHES - 1);
    int64_t groups = whole(r, "groups", 0, MOST_ELEMENTS);
    int64_t inputs = whole(r, "inputs", 1, parts.binary ? MOST_SIGNS : MOST_INPUTS);
    int64_t outputs = whole(r, "outputs", 0, MOST_ELEMENTS);
    parts.inputs = (int32_t)inputs;
    parts.outputs = (int32_t)outputs;
    made->layer.groups = groups;
    made->a = parts.binary
                  ? value(r, "signs", CTR_SIGN_WORDS, groups * words_of(inputs), true)
                  : value(r, "levels", CTR_LEVEL_BYTES, groups * inputs, true);
    static const enum ctr_sort sorts[CTR_FINISHES] = {CTR_NUMBERS, CTR_NUMBERS, CTR_LEVEL_BYTES,
                                                      CTR_SIGN_WORDS};
    int64_t width = parts.finish == CTR_BITS ? words_of(outputs) : outputs;
    made->out = value(r, "outputs", sorts[parts.finish], groups * width, false);
    int64_t row = parts.binary ? (inputs + 7) / 8 : inputs;
    parts.weight = array(r, "weight", outputs * row);
    parts.scale = array(r, "scale", outputs * 4);
    parts.bias = array(r, "bias", outputs * 4);
    if (!parts.binary) parts.zero_in = (int32_t)whole(r, "zero of the inputs", 0, 255);
    if (parts.finish == CTR_LEVELS) {
        parts.rectified = whole(r, "rectified", 0, 1);
        parts.zero_out = (int32_t)whole(r, "zero of the outputs", 0, 255);
        parts.one_inverse = whole(r, "one inverse", 0, 1);
        parts.inverse = array(r, "inverse", parts.one_inverse ? 4 : outputs * 4);
    }
    if (r->failed) return;
    const uint8_t *signs = parts.weight;
    if (parts.binary && inputs % 8)
        for (int64_t n = 0; n < outputs; n++)
            if (signs[n * row + row - 1] >> (inputs % 8)) fail(r, "signs of no inputs");
    if (r->failed) return;
    made->layer.layer = ctr_layer_new(r->program->simd, &parts);
    if (made->layer.layer == NULL) fail(r, "memory is short");
    const struct ctr_simd *simd = r->program->simd;
    size_t staged = !parts.binary && simd->stage ? simd->staged_bytes(parts.inputs) : 0;
    if (staged > r->program->staged_bytes) r->program->staged_bytes = staged;
}

static void read_quantise(struct reader *r, struct ctr_operation *made) {
    int64_t groups = made->quantise.groups = whole(r, "groups", 0, MOST_ELEMENTS);
    int64_t width = made->quantise.width = whole(r, "width", 0, MOST_ELEMENTS);
    int64_t count = made->quantise.count = whole(r, "count", 0, width);
    made->quantise.at = whole(r, "place", 0, width - count);
    made->a = value(r, "numbers", CTR_NUMBERS, groups * count, true);
    made->out = value(r, "levels", CTR_LEVEL_BYTES, groups * width, false);
    made->quantise.zero = (float)whole(r, "zero", 0, 255);
    made->quantise.one_inverse = whole(r, "one inverse", 0, 1);
    made->quantise.inverse =
        kept_floats(r, "inverse", made->quantise.one_inverse ? 1 : width);
}

static void read_signs(struct reader *r, struct ctr_operation *made) {
    int64_t groups = made->signs.groups = whole(r, "groups", 0, MOST_ELEMENTS);
    int64_t count = made->signs.count = whole(r, "count", 0, MOST_ELEMENTS);
    made->a = value(r, "numbers", CTR_NUMBERS, groups * count, true);
    made->out = value(r, "signs", CTR_SIGN_WORDS, groups * words_of(count), false);
}

/* Axes of a loop over two arrays; returns the elements that each needs from its first one on. */
static void read_axes(struct reader *r, struct ctr_axes *axes, int64_t *total, int64_t *a,
                      int64_t *b) {
    *total = *a = *b = 1;
    axes->count = (int)whole(r, "number of axes", 1, CTR_MOST_AXES);
    for (int i = 0; i < axes->count && !r->failed; i++) {
        int64_t length = axes->length[i] = whole(r, "length of an axis", 0, MOST_ELEMENTS);
        axes->a[i] = whole(r, "a stride", 0, MOST_ELEMENTS);
        axes->b[i] = whole(r, "a stride", 0, MOST_ELEMENTS);
        *total *= length;
        if (length > 0) {
            *a += (length - 1) * axes->a[i];
            *b += (length - 1) * axes->b[i];
        }
        if (*total > MOST_ELEMENTS) fail(r, "an operation of %lld elements", (long long)*total);
    }
    if (*total == 0) *a = *b = 0;
}

static void read_pair(struct reader *r, struct ctr_operation *made) {
    int64_t total, a, b;
    made->pair.pair = (enum ctr_pair)whole(r, "pair", 0, CTR_PAIRS - 1);
    read_axes(r, &made->pair.axes, &total, &a, &b);
    made->a = value(r, "first operand", CTR_NUMBERS, a, true);
    made->b = value(r, "second operand", CTR_NUMBERS, b, true);
    made->out = value(r, "result", CTR_NUMBERS, total, false);
}

static void read_sum(struct reader *r, struct ctr_operation *made) {
    int64_t outer = made->sum.outer = whole(r, "outer", 0, MOST_ELEMENTS);
    int64_t count = made->sum.count = whole(r, "count", 0, MOST_ELEMENTS);
    int64_t inner = made->sum.inner = whole(r, "inner", 0, MOST_ELEMENTS);
    if (outer * inner > MOST_ELEMENTS || outer * inner * count > MOST_ELEMENTS)
        fail(r, "a sum of too many elements");
    made->a = value(r, "operand", CTR_NUMBERS, outer * count * inner, true);
    made->out = value(r, "result", CTR_NUMBERS, outer * inner, false);
}

static void read_copy(struct reader *r, struct ctr_operation *made) {
    int64_t total, a, b;
    int64_t from = made->copy.from = whole(r, "first element", 0, MOST_ELEMENTS);
    int64_t to = made->copy.to = whole(r, "first place", 0, MOST_ELEMENTS);
    read_axes(r, &made->copy.axes, &total, &a, &b);
    made->a = value(r, "operand", CTR_NUMBERS, total ? from + a : 0, true);
    made->out = value(r, "result", CTR_NUMBERS, total ? to + b : 0, false);
}

static void read_take(struct reader *r, struct ctr_operation *made) {
    int64_t outer = made->take.outer = whole(r, "outer", 0, MOST_ELEMENTS);
    int64_t length = made->take.length = whole(r, "length", 0, MOST_ELEMENTS);
    int64_t inner = made->take.inner = whole(r, "inner", 0, MOST_ELEMENTS);
    int64_t count = made->take.count = whole(r, "count", 0, MOST_ELEMENTS);
    if (outer * inner > MOST_ELEMENTS || outer * inner * count > MOST_ELEMENTS ||
        outer * inner * length > MOST_ELEMENTS)
        fail(r, "positions of too many elements");
    made->a = value(r, "operand", CTR_NUMBERS, outer * length * inner, true);
    made->out = value(r, "result", CTR_NUMBERS, outer * count * inner, false);
    made->take.positions = kept_memory(r, (size_t)count * sizeof *made->take.positions);
    for (int64_t i = 0; i < count && !r->failed; i++)
        made->take.positions[i] = whole(r, "a position", 0, length - 1);
}

static void read_operations(struct reader *r, int32_t columns, const struct ctr_column *described) {
    struct ctr_program *program = r->program;
    int32_t count = (int32_t)whole(r, "number of operations", 0, MOST_OPERATIONS);
    program->operations = kept_memory(r, (size_t)count * sizeof *program->operations);
    for (int32_t i = 0; i < count && !r->failed; i++) {
        struct ctr_operation *made = &program->operations[i];
        made->kind = (enum ctr_kind)whole(r, "kind", 0, CTR_KINDS - 1);
        program->operation_count = i + 1;
        if (r->failed) return;
        switch (made->kind) {
        case CTR_EMBED: read_embed(r, made, columns, described); break;
        case CTR_LAYER: read_layer(r, made); break;
        case CTR_QUANTISE: read_quantise(r, made); break;
        case CTR_SIGNS: read_signs(r, made); break;
        case CTR_RECTIFY:
            made->count = whole(r, "count", 0, MOST_ELEMENTS);
            made->a = value(r, "operand", CTR_NUMBERS, made->count, true);
            made->out = value(r, "result", CTR_NUMBERS, made->count, false);
            break;
        case CTR_PAIR: read_pair(r, made); break;
        case CTR_SUM: read_sum(r, made); break;
        case CTR_COPY: read_copy(r, made); break;
        case CTR_TAKE: read_take(r, made); break;
        case CTR_KINDS: break;
        }
    }
}

static void read_program(struct reader *r) {
    struct ctr_program *program = r->program;
    whole(r, "format", CTR_FORMAT, CTR_FORMAT);
    int32_t columns = 0;
    struct ctr_column *described = NULL;
    read_columns(r, &columns, &described);
    program->numbers = whole(r, "numeric columns", 0, MOST_ELEMENTS);
    program->tasks = whole(r, "tasks", 1, MOST_ELEMENTS);
    read_values(r);
    read_operations(r, columns, described);
    program->logits = value(r, "logits", CTR_NUMBERS, program->tasks, true);
    if (r->at != r->count) fail(r, "the program goes on behind its end");
    if (r->failed) return;
    for (program->height = CTR_ROWS; program->height > CTR_HIGH; program->height /= 2)
        if (ctr_scratch_bytes(program) <= (size_t)MOST_SCRATCH / 64) break;
    if (ctr_scratch_bytes(program) > (size_t)MOST_SCRATCH) fail(r, "its values are too large");
}

struct ctr_program *ctr_program_new(const int64_t *words, int64_t count,
                                    const struct ctr_array *arrays, int64_t array_count,
                                    int instruction_set, char *message, int64_t message_bytes) {
    struct reader r = {.words = words,
                       .count = count,
                       .arrays = arrays,
                       .array_count = array_count,
                       .program = calloc(1, sizeof(struct ctr_program)),
                       .message = message,
                       .message_bytes = (size_t)message_bytes};
    if (r.program == NULL) {
        fail(&r, "memory is short");
        return NULL;
    }
    r.program->simd = ctr_simd_at(instruction_set);
    if (r.program->simd == NULL)
        fail(&r, "this processor has no instruction set %d", instruction_set);
    else
        read_program(&r);
    if (r.failed) {
        ctr_program_free(r.program);
        return NULL;
    }
    return r.program;
}

void ctr_program_free(struct ctr_program *program) {
    if (program == NULL) return;
    for (int32_t i = 0; i < program->operation_count; i++)
        if (program->operations[i].kind == CTR_LAYER)
            ctr_layer_free(program->operations[i].layer.layer);
    for (int32_t i = 0; i < program->kept_count; i++) free(program->kept[i]);
    free(program->kept);
    free(atomic_load(&program->scratch));
    free(program);
}
