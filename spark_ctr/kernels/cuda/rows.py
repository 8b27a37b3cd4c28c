"""Rows of packed signs as the device has them: whole words, padded to tiles of 256 signs."""

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
