"""Products of packed sign matrices."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels.signs import check_packed, pack_signs, unpack_signs
from spark_ctr.kernels.simd import simd

# Rows unpacked at a time by the NumPy path, which bounds its memory.
_ROWS = 1024
# float32 holds every integer up to here, so a sum of that many signs is exact.
_EXACT = 1 << 24


def binary_matmul(packed_x: np.ndarray, packed_w: np.ndarray, k: int) -> np.ndarray:
    """Multiply two matrices of packed signs, ``sign(x) @ sign(w).T``.

    The result is the exact integer ``k - 2 * popcount(x xor w)``, the same whether numkong's
    packed Hamming product or the NumPy path computed it: padding bits are 0 on both sides, so
    their exclusive or counts nothing.

    Parameters
    ----------
    packed_x : ndarray [B, ceil(k / 8)], uint8
        Packed input signs, from `pack_signs`.
    packed_w : ndarray [N, ceil(k / 8)], uint8
        Packed weight signs, from `pack_signs`.
    k : int
        Number of signs in a row, below 2**24.

    Returns
    -------
    ndarray [B, N], int32
        Dot products of the rows as vectors of +1 and -1.

    Raises
    ------
    ValueError
        If a matrix does not hold `k` signs a row, or `k` is out of range.
    """
    check_packed("packed_x", packed_x, k)
    check_packed("packed_w", packed_w, k)
    if k >= _EXACT:
        raise ValueError(f"k must be below {_EXACT} for exact products, got {k}")
    if len(packed_x) == 0 or len(packed_w) == 0:
        return np.zeros((len(packed_x), len(packed_w)), dtype=np.int32)
    numkong = simd()
    if numkong is None:
        return _numpy_matmul(packed_x, packed_w, k)
    weights = numkong.hammings_pack(np.ascontiguousarray(packed_w))
    distances = np.asarray(numkong.hammings_packed(np.ascontiguousarray(packed_x), weights))
    dots = distances.view(np.int32)
    dots *= -2
    dots += k
    return dots


def _numpy_matmul(packed_x: np.ndarray, packed_w: np.ndarray, k: int) -> np.ndarray:
    """Multiply through BLAS on +-1.0, five times faster here than `numpy.bitwise_count`."""
    weights = unpack_signs(packed_w, k).T
    dots = np.empty((len(packed_x), len(packed_w)), dtype=np.int32)
    for start in range(0, len(packed_x), _ROWS):
        rows = slice(start, start + _ROWS)
        dots[rows] = unpack_signs(packed_x[rows], k) @ weights
    return dots


def binary_linear(
    x: np.ndarray, packed_w: np.ndarray, scale: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    """Apply a 1-bit linear layer, ``(sign(x) @ sign(w).T) * scale + bias``.

    Parameters
    ----------
    x : ndarray [B, K], float32
        Inputs, of which only the signs count.
    packed_w : ndarray [N, ceil(K / 8)], uint8
        Packed weight signs, from `pack_signs`.
    scale, bias : ndarray [N], float32
        Scale and bias of each output.

    Returns
    -------
    ndarray [B, N], float32
        The outputs; given `x`, bit-identical with and without numkong.
    """
    outputs = binary_matmul(pack_signs(x), packed_w, x.shape[1]).astype(np.float32)
    outputs *= scale
    outputs += bias
    return outputs
