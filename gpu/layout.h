// Sizes of the tiles and offsets into device buffers (NOTES.md); plain C++, so the host's compiler
// can check it too. A word is 32 bits, input k of a row is bit k % 32 of word k / 32.
#pragma once

constexpr int LANES = 32;

// One m16n8k256 product of a warp.
constexpr int TILE_ROWS = 16;
constexpr int TILE_COLUMNS = 8;
constexpr int TILE_INPUTS = 256;
constexpr int TILE_WORDS = TILE_INPUTS / 32;

// A warp computes 2 x 8 of them, a block 4 warps one below the other.
constexpr int ROW_TILES = 2;
constexpr int COLUMN_TILES = 8;
constexpr int COLUMN_PAIRS = COLUMN_TILES / 2;
constexpr int WARPS = 4;
constexpr int WARP_ROWS = ROW_TILES * TILE_ROWS;
constexpr int BLOCK_ROWS = WARPS * WARP_ROWS;
constexpr int BLOCK_COLUMNS = COLUMN_TILES * TILE_COLUMNS;
constexpr int BLOCK_WORDS = BLOCK_COLUMNS / 32;

// Weight words that a lane loads at once: both halves of a pair of tiles.
constexpr int PAIR_WORDS = 4;

__device__ inline int input_tiles(int inputs) { return (inputs + TILE_INPUTS - 1) / TILE_INPUTS; }

__device__ inline int column_blocks(int outputs) {
    return (outputs + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS;
}

// Words of a row of signs, of inputs or outputs.
__device__ inline int row_words(int signs) { return input_tiles(signs) * TILE_WORDS; }

// Rows of levels, and weights of indices, are laid out as those of so many signs: 8 bits each.
__device__ inline int level_bits(int levels) { return 8 * levels; }

// Where a row of signs begins, in words.
__device__ inline long long row_offset(long long row, int signs) { return row * row_words(signs); }

// Row of a tile that a lane holds bits of (A), or sums of (C): `lower` is 0 or 1.
__device__ inline int lane_row(int lane, int lower) { return lane / 4 + 8 * lower; }

// Column of a tile that a lane holds bits of (B).
__device__ inline int lane_column(int lane) { return lane / 4; }

// The first of the two words of a tile's 8 that a lane holds (A and B).
__device__ inline int lane_word(int lane) { return lane % 4 * 2; }

// Column of a tile that a lane holds sums of (C): `right` is 0 or 1.
__device__ inline int lane_output(int lane, int right) { return lane % 4 * 2 + right; }

// Where a lane's PAIR_WORDS words of a pair of column tiles begin, in words.
__device__ inline long long weight_offset(int column_block, int tile, int inputs, int pair,
                                          int lane) {
    const long long at = (long long)column_block * input_tiles(inputs) + tile;
    return ((at * COLUMN_PAIRS + pair) * LANES + lane) * PAIR_WORDS;
}
