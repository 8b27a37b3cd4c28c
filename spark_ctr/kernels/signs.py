"""Signs packed eight to a byte."""

from __future__ import annotations

import numpy as np


def pack_signs(x: np.ndarray) -> np.ndarray:
    """Pack the signs of the rows of a matrix, eight to a byte.

    Parameters
    ----------
    x : ndarray [B, K], float
        Values; zero and NaN count as negative, as in ``sign(x) = +1 if x > 0 else -1``.

    Returns
    -------
    ndarray [B, ceil(K / 8)], uint8
        Bit ``k % 8`` (least significant first) of byte ``k // 8`` is 1 where ``x[:, k] > 0``;
        the padding bits of the last byte are 0.
    """
    return np.packbits(np.asarray(x) > 0, axis=1, bitorder="little")


def unpack_signs(packed: np.ndarray, k: int) -> np.ndarray:
    """Unpack signs to ``+1`` and ``-1``.

    Parameters
    ----------
    packed : ndarray [B, ceil(k / 8)], uint8
        What `pack_signs` returned.
    k : int
        Number of signs in a row.

    Returns
    -------
    ndarray [B, k], float32
        ``+1`` where the bit is 1, ``-1`` where it is 0.

    Raises
    ------
    ValueError
        If the rows of `packed` do not hold `k` signs.
    """
    check_packed("packed", packed, k)
    signs = np.unpackbits(packed, axis=1, count=k, bitorder="little").astype(np.float32)
    signs *= 2
    signs -= 1
    return signs


def check_packed(name: str, packed: np.ndarray, k: int) -> None:
    """Raise ValueError unless `packed` is a uint8 matrix whose rows hold `k` signs."""
    width = -(-k // 8)
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width or k < 1:
        raise ValueError(
            f"{name} must be a uint8 matrix of {width} columns to hold {k} signs a row, got "
            f"{packed.dtype} {packed.shape}; make it with pack_signs"
        )
