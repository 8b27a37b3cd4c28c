"""Rows of indices of 4 bits: ``index = (nibble - 8) * factor``, which fits 8 bits."""

from __future__ import annotations

import numpy as np

# Smallest and largest index before the factor, and the largest factor.
LOWEST, HIGHEST = -8, 7
MOST_FACTOR = 15


def row_bytes(dim: int) -> int:
    """Return the bytes of a packed row: its factor, and half a byte an index."""
    return 1 + -(-dim // 2)


def pack_index4(index: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Pack the rows of a table, each with its factor, two indices to a byte.

    Parameters
    ----------
    index : ndarray [rows, D], int8
        In [-8, 7].
    factor : ndarray [rows], int
        In [1, 15].

    Returns
    -------
    ndarray [rows, 1 + ceil(D / 2)], uint8
        The factor; then byte ``d`` holds ``index[:, d] + 8`` in its low bits, and in its high bits
        that of ``d + ceil(D / 2)``, or 0 where there is none. So halves are unpacked without a
        shuffle.
    """
    nibbles = (index - LOWEST).astype(np.uint8)
    half = row_bytes(index.shape[1]) - 1
    high = np.zeros((len(index), half), np.uint8)
    high[:, : index.shape[1] - half] = nibbles[:, half:]
    return np.column_stack([factor.astype(np.uint8), nibbles[:, :half] | high << 4])


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
        In [-120, 105].
    """
    factor, halves = packed[..., :1], packed[..., 1:]
    nibbles = np.concatenate([halves & 15, halves >> 4], axis=-1)[..., :dim]
    return ((nibbles.astype(np.int16) + LOWEST) * factor).astype(np.int8)
