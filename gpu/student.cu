// A whole student in one launch, sm_80 to sm_90: ids and numbers to float32 logits.
//
// A block has WARP_ROWS rows, and its warps share the columns of each layer. What is between the
// layers lies in shared memory, in two buffers that change roles from layer to layer.
#include "arithmetic.h"
#include "binary_tile.h"
#include "epilogue.h"
#include "ids.h"
#include "integer_tile.h"
#include "layout.h"
#include "look_up.h"
#include "student.h"
#include "warp_tile.h"

extern __shared__ uint2 block_memory[];

namespace {

// The same of all lanes, which the compiler then knows: it leaves the warp together.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(~0u, x, 0); }

// An address that a table has, which the compiler cannot know to be one of global memory.
template <class Value>
__device__ __forceinline__ const Value *global(const Value *p) {
    __builtin_assume(__isGlobal(p));
    return p;
}

// The rows of a block, some of which may be beyond the last one.
struct BlockRows {
    long long first, rows;
};

// As check_ids, of the rows of a block.
__device__ __forceinline__ void check_rows(const Student &student, const BlockRows &block, int *ids,
                                           unsigned long long *first_bad) {
    const long long left = block.rows - block.first;
    const int count = (left < WARP_ROWS ? int(left) : WARP_ROWS) * student.slots;
    ids += block.first * student.slots;
#pragma unroll 1
    for (int i = threadIdx.x; i < count; i += WARPS * LANES) {
        const int row = i / student.slots;
        if (is_valid(ids[i], student.valid, i - row * student.slots)) continue;
        ids[i] = 0;
        atomicMin(first_bad, (unsigned long long)(block.first + row));
    }
}

// Stores the level of number(row) of all rows of a warp, `stride` bytes from one to the next.
template <class Number>
__device__ __forceinline__ void store_column(const BlockRows &block, float inverse, float zero,
                                             unsigned char *y, int stride, Number number) {
#pragma unroll 1
    for (int i = threadIdx.x / LANES; i < WARP_ROWS; i += WARPS) {
        const long long row = block.first + i;
        // Rows past the end repeat the last one.
        const float value = number(row < block.rows ? row : block.rows - 1);
        y[i * stride] = level_of(value, inverse, zero);
    }
}

// Stores the levels that the first layer reads, padding 0. A lane has every 32nd level, of the rows
// of its warp.
__device__ __forceinline__ void store_inputs(const Student &student, const BlockRows &block,
                                             const int *ids, const float *numeric, unsigned *y) {
    const int bits = level_bits(student.width), stride = shared_stride(bits) * 4;
#pragma unroll 1
    for (int at = threadIdx.x % LANES; at < row_words(bits) * 4; at += LANES) {
        unsigned char *to = reinterpret_cast<unsigned char *>(y) + at;
        if (at >= student.width) {
            for (int i = threadIdx.x / LANES; i < WARP_ROWS; i += WARPS) to[i * stride] = 0;
            continue;
        }
        const int source = student.source[at];
        const float inverse = student.inverse[at];
        if (source < 0) {
            store_column(block, inverse, student.zero, to, stride,
                         [&](long long row) { return numeric[row * student.numbers + ~source]; });
        } else {
            const LookUp from = student.columns[source];
            const int d = at - from.column.at;
            store_column(block, inverse, student.zero, to, stride, [&](long long row) {
                const int *own = ids + row * student.slots + from.column.slot;
                return embedding_of(from.rows, from.column, own, d);
            });
        }
    }
}

// A layer, of which the compiler knows what is the same of all lanes and what is global memory.
__device__ __forceinline__ StudentLayer layer_of(const StudentLayer &layer) {
    return {global(layer.weight),    global(layer.start),    global(layer.scale),
            global(layer.bias),      global(layer.inverse),  uniform(layer.binary),
            uniform(layer.finish),   uniform(layer.bits),    uniform(layer.outputs),
            layer.relu,              layer.zero};
}

// Computes a block of columns of a layer; `to` is in shared memory, y is where logits go.
__device__ __forceinline__ void compute(const StudentLayer &layer, const BlockRows &block,
                                        const Place &place, const unsigned *from, unsigned *to,
                                        float *y) {
    // Words of shared memory the compiler would copy again before each product. `binary` is 0 or 1.
    const unsigned nothing = layer.binary >> 1;
    const Input input = {from, WARP_ROWS, layer.bits, shared_stride(layer.bits), nothing};
    const Outputs made = {layer.scale, layer.bias, layer.outputs, least_output(layer.relu)};
    RowBits bits = {};
    Counts counts = {};
    if (layer.binary) {
        count(counts, input, layer.weight, place);
        if (layer.finish == SIGNS) {
            add_signs(bits, counts, layer.start, place);
            store_signs(bits, place, WARP_ROWS, layer.outputs, to, shared_stride(layer.outputs));
            return;
        }
        to_products(counts, layer.start, place);
    } else {
        multiply(counts.common, input, layer.weight, layer.start, place);
    }
    if (layer.finish == FLOAT32) {
        store_float32(counts.common, made, {place.lane, place.column_block, block.first},
                      block.rows, y);
    } else if (layer.finish == LEVELS) {
        store_levels(counts.common, made, place, WARP_ROWS, layer.inverse, layer.zero, to,
                     shared_stride(level_bits(layer.outputs)));
    } else {
        add_signs(bits, counts.common, layer.scale, layer.bias, place);
        store_signs(bits, place, WARP_ROWS, layer.outputs, to, shared_stride(layer.outputs));
    }
}

}  // namespace

// float32 [rows, outputs of the last layer] without padding, of ids [rows, slots] and numeric
// [rows, numbers]; ids and first_bad as check_ids.
extern "C" __global__ void __launch_bounds__(WARPS *LANES)
    student_float32(const Student *student, int *ids, const float *numeric, long long rows,
                    unsigned long long *first_bad, float *y) {
    unsigned *memory = &block_memory[0].x;
    const BlockRows block = {(long long)blockIdx.x * WARP_ROWS, rows};
    check_rows(*student, block, ids, first_bad);
    __syncthreads();
    store_inputs(*student, block, ids, numeric, memory);
    int from = 0, to = student->second;
    const int depth = uniform(student->depth);
#pragma unroll 1
    for (int k = 0; k < depth; k++) {
        // Of the layer before: what it wrote is read, and what it read is written.
        __syncthreads();
        const StudentLayer layer = layer_of(global(student->layers)[k]);
#pragma unroll 1
        for (int column = uniform(threadIdx.x / LANES); column < column_blocks(layer.outputs);
             column += WARPS)
            compute(layer, block, {int(threadIdx.x % LANES), column, 0}, memory + from,
                    memory + to, y);
        const int read = from;
        from = to;
        to = read;
    }
}
