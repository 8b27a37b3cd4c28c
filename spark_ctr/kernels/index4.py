"""Indices of 4 bits, two to a byte: ``index = (nibble - 8) * factor``, which fits 8 bits."""

from __future__ import annotations

import numpy as np

# Smallest and largest index before the factor, and the largest factor.
LOWEST, HIGHEST = -8, 7
MOST_FACTOR = 15


def pack_index4(index: np.ndarray) -> np.ndarray:
    """Pack the rows of a table, two indices to a byte.

    Parameters
    ----------
    index : ndarray [rows, D], int8
        In [-8, 7].

    Returns
    -------
    ndarray [rows, ceil(D / 2)], uint8
        Byte ``d`` holds ``index[:, d] + 8`` in its low bits, and in its high bits that of
        ``d + ceil(D / 2)``, or 0 where there is none. So halves are unpacked without a shuffle.
    """
    nibbles = (index - LOWEST).astype(np.uint8)
    half = -(-index.shape[1] // 2)
    high = np.zeros((len(index), half), np.uint8)
    high[:, : index.shape[1] - half] = nibbles[:, half:]
    return nibbles[:, :half] | high << 4


def unpack_index4(packed: np.ndarray, dim: int, factor: np.ndarray | int) -> np.ndarray:
    """Unpack rows to indices of 8 bits.

    Parameters
    ----------
    packed : ndarray [..., ceil(D / 2)], uint8
        Rows of what `pack_index4` returned.
    dim : int
        D.
    factor : int, or ndarray that broadcasts against [..., D]
        In [1, 15].

    Returns
    -------
    ndarray [..., D], int8
        In [-120, 105].
    """
    nibbles = np.concatenate([packed & 15, packed >> 4], axis=-1)[..., :dim]
    return ((nibbles.astype(np.int16) + LOWEST) * factor).astype(np.int8)
