"""Rows of packed signs and of levels as the device has them: whole words, padded to tiles."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels.cuda.geometry import TILE_INPUTS, TILE_WORDS, tiles
from spark_ctr.kernels.signs import check_packed

# Bytes of a word in the order of the device, whatever that of the host.
WORD = np.dtype("<u4")


def row_words(k: int) -> int:
    """Return how many 32-bit words a row of `k` signs takes on the device."""
    return tiles(k, TILE_INPUTS) * TILE_WORDS


def to_device_rows(packed: np.ndarray, k: int) -> np.ndarray:
    """Pad rows of packed signs for the device.

    Parameters
    ----------
    packed : ndarray [B, ceil(k / 8)], uint8
        Packed signs, from `pack_signs`.
    k : int
        Number of signs in a row.

    Returns
    -------
    ndarray [B, row_words(k)], uint32
        The same bytes, then zeros; sign ``i`` is bit ``i % 32`` of word ``i // 32``.

    Raises
    ------
    ValueError
        If the rows of `packed` do not hold `k` signs.
    """
    check_packed("packed", packed, k)
    rows = np.zeros((len(packed), row_words(k) * 4), np.uint8)
    rows[:, : packed.shape[1]] = packed
    return rows.view(WORD)


def from_device_rows(words: np.ndarray, k: int) -> np.ndarray:
    """Take the padding off rows of the device.

    Parameters
    ----------
    words : ndarray [B, row_words(k)], uint32
        What `to_device_rows` or ``binary_linear_signs`` made.
    k : int
        Number of signs in a row.

    Returns
    -------
    ndarray [B, ceil(k / 8)], uint8
        What `pack_signs` makes of the same signs.

    Raises
    ------
    ValueError
        If the rows of `words` do not hold `k` signs.
    """
    if words.dtype != WORD or words.ndim != 2 or k < 1 or words.shape[1] != row_words(k):
        raise ValueError(
            f"words must be a uint32 matrix of {row_words(max(k, 1))} columns to hold {k} signs a "
            f"row, got {words.dtype} {words.shape}"
        )
    return np.ascontiguousarray(words).view(np.uint8)[:, : tiles(k, 8)]


def level_row_words(k: int) -> int:
    """Return how many 32-bit words a row of `k` levels takes on the device, 8 for each 32."""
    return row_words(8 * k)


def levels_to_device_rows(levels: np.ndarray) -> np.ndarray:
    """Pad rows of levels, or of 8-bit indices, for the device.

    Parameters
    ----------
    levels : ndarray [B, K], uint8 or int8

    Returns
    -------
    ndarray [B, level_row_words(K)], uint32
        The same bytes, then zeros.

    Raises
    ------
    ValueError
        If `levels` is no matrix of bytes, or has no columns.
    """
    if levels.ndim != 2 or levels.shape[1] < 1 or levels.dtype not in (np.uint8, np.int8):
        raise ValueError(
            f"levels must be a uint8 or int8 matrix with columns, got {levels.dtype} {levels.shape}"
        )
    rows = np.zeros((len(levels), level_row_words(levels.shape[1]) * 4), np.uint8)
    rows[:, : levels.shape[1]] = levels.view(np.uint8)
    return rows.view(WORD)


def levels_from_device_rows(words: np.ndarray, k: int) -> np.ndarray:
    """Take the padding off rows of levels.

    Parameters
    ----------
    words : ndarray [B, level_row_words(k)], uint32
        What ``integer_linear_levels`` or ``embedding_levels`` made.
    k : int
        Number of levels in a row.

    Returns
    -------
    ndarray [B, k], uint8

    Raises
    ------
    ValueError
        If the rows of `words` do not hold `k` levels.
    """
    return from_device_rows(words, 8 * k)
