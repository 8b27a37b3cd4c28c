"""Launch geometry of the CUDA kernels: how many blocks, and how many rows at a time.

All grids are one-dimensional. The sizes are those of ``gpu/layout.h``.
"""

from __future__ import annotations

from collections.abc import Iterator

LANES = 32
WARPS = 4
THREADS = WARPS * LANES
TILE_INPUTS = 256
TILE_WORDS = TILE_INPUTS // 32
WARP_ROWS = 32
BLOCK_ROWS = WARPS * WARP_ROWS
BLOCK_COLUMNS = 64
# Of the kernels that go element by element, gpu/span.h.
BLOCK_ELEMENTS = 4 * THREADS
# The most blocks that CUDA takes in the first dimension.
MAX_BLOCKS = 2**31 - 1


def tiles(n: int, size: int) -> int:
    """Return how many tiles of `size` cover `n`."""
    return -(-n // size)


def linear_blocks(rows: int, outputs: int) -> int:
    """Return the blocks of the kernels of ``binary_linear`` and ``integer_linear``.

    Parameters
    ----------
    rows, outputs : int
        Rows of the input, and outputs of the layer.

    Returns
    -------
    int
        Blocks of `THREADS` threads; 0 for no rows, which is not to be launched.

    Raises
    ------
    ValueError
        If there are negative rows, no outputs, or more blocks than CUDA takes.
    """
    return _blocks(rows, BLOCK_ROWS, tiles(_positive("outputs", outputs), BLOCK_COLUMNS))


def warp_blocks(rows: int) -> int:
    """Return the blocks of kernels with a warp a row.

    Those are the kernels of ``pack_signs`` and ``embedding``, and ``quantise_levels``.

    Parameters, result and errors are those of `linear_blocks`, without the outputs.
    """
    return _blocks(rows, WARPS, 1)


def student_blocks(rows: int) -> int:
    """Return the blocks of ``student_float32``, with `WARP_ROWS` rows a block.

    Parameters, result and errors are those of `linear_blocks`, without the outputs.
    """
    return _blocks(rows, WARP_ROWS, 1)


def element_blocks(rows: int, elements: int) -> int:
    """Return the blocks of the kernels of ``elements`` that have some elements a thread.

    Those are ``relu_float32`` (of one row of all elements), ``pair_float32``, ``copy_float32``,
    ``take_float32`` and ``check_ids``.

    Parameters
    ----------
    rows, elements : int
        Rows, and elements of each: of the result, or what is copied or checked.

    Returns
    -------
    int
        Blocks of `THREADS` threads; 0 for no elements, which is not to be launched.

    Raises
    ------
    ValueError
        If rows or elements are negative, or there are more blocks than CUDA takes.
    """
    return _element_blocks(rows, elements, BLOCK_ELEMENTS)


def sum_blocks(rows: int, elements: int) -> int:
    """Return the blocks of ``sum_float32``, with a thread a sum; as `element_blocks` otherwise."""
    return _element_blocks(rows, elements, THREADS)


def oracle_blocks(rows: int, outputs: int) -> int:
    """Return the blocks of ``binary_oracle``; as `linear_blocks` otherwise."""
    return _blocks(rows * _positive("outputs", outputs), THREADS, 1)


def row_chunks(
    rows: int, row_bytes: int, memory: int, outputs: int = 1
) -> Iterator[tuple[int, int]]:
    """Cut rows into chunks that fit into device memory, and into the grid of a launch.

    Parameters
    ----------
    rows : int
        Rows in all.
    row_bytes : int
        Bytes that a row takes on the device, of inputs and outputs together.
    memory : int
        Bytes that a chunk may take.
    outputs : int
        Outputs of the widest layer.

    Yields
    ------
    tuple of int
        First row of a chunk and the row after its last. All chunks but the last are as long, a
        multiple of `BLOCK_ROWS`. No chunk for no rows.

    Raises
    ------
    ValueError
        If `BLOCK_ROWS` rows do not fit, or an argument is out of range.
    """
    columns = tiles(_positive("outputs", outputs), BLOCK_COLUMNS)
    fitting = memory // _positive("row_bytes", row_bytes) // BLOCK_ROWS
    # Packing has a block for every few rows, so it may be the first to run out of them.
    most = min(MAX_BLOCKS // columns, MAX_BLOCKS * WARPS // BLOCK_ROWS)
    size = min(fitting, most) * BLOCK_ROWS
    if rows < 0 or size < BLOCK_ROWS:
        raise ValueError(
            f"{rows} rows of {row_bytes} bytes cannot be cut into chunks of at least {BLOCK_ROWS} "
            f"rows and at most {memory} bytes"
        )
    return ((start, min(start + size, rows)) for start in range(0, rows, size))


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def _element_blocks(rows: int, elements: int, size: int) -> int:
    if elements < 0:
        raise ValueError(f"elements must not be negative, got {elements}")
    return _blocks(rows * elements, size, 1)


def _blocks(rows: int, size: int, columns: int) -> int:
    blocks = tiles(rows, size) * columns
    if not 0 <= blocks <= MAX_BLOCKS:
        raise ValueError(
            f"{blocks} blocks are not in [0, {MAX_BLOCKS}]: launch chunks of the rows (row_chunks)"
        )
    return blocks
