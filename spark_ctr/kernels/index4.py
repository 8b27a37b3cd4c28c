"""Rows of 4 bits a number: ``index = (2 * nibble - 15) * factor``, an index of 8 bits.

The 16 steps lie around 0 on both sides, so that none is lost to symmetry.
"""

from __future__ import annotations

import numpy as np

MOST_NIBBLE = 15
# Indices are in [-120, 120].
MOST_FACTOR = 8


def row_bytes(dim: int) -> int:
    """Return the bytes of a packed row: its factor, and half a byte a number."""
    return 1 + -(-dim // 2)


def pack_index4(nibbles: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Pack the rows of a table, each with its factor, two nibbles to a byte.

    Parameters
    ----------
    nibbles : ndarray [rows, D], int
        In [0, 15].
    factor : ndarray [rows], int
        In [1, 8].

    Returns
    -------
    ndarray [rows, 1 + ceil(D / 2)], uint8
        The factor; then byte ``d`` holds nibble ``d`` in its low bits, and in its high bits nibble
        ``d + ceil(D / 2)``, or 0 where there is none. So halves are unpacked without a shuffle.
    """
    half = row_bytes(nibbles.shape[1]) - 1
    low, high = nibbles[:, :half].astype(np.uint8), np.zeros((len(nibbles), half), np.uint8)
    high[:, : nibbles.shape[1] - half] = nibbles[:, half:]
    return np.column_stack([factor.astype(np.uint8), low | high << 4])


def unpack_index4(packed: np.ndarray, dim: int) -> np.ndarray:
    """Unpack rows to indices of 8 bits.

    Parameters
    ----------
    packed : ndarray [..., 1 + ceil(D / 2)], uint8
        Rows of what `pack_index4` returned.
    dim : int
        D.

    Returns
    -------
    ndarray [..., D], int8
    """
    factor, halves = packed[..., :1].astype(np.int16), packed[..., 1:]
    nibbles = np.concatenate([halves & 15, halves >> 4], axis=-1)[..., :dim]
    return ((2 * nibbles.astype(np.int16) - MOST_NIBBLE) * factor).astype(np.int8)
