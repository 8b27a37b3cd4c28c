"""Products of packed sign matrices."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels.signs import check_packed, pack_signs, unpack_signs
from spark_ctr.kernels.simd import simd

# Rows unpacked at a time by the NumPy path, which bounds its memory.
_ROWS = 1024
# float32 holds every integer up to here, so a sum of that many signs is exact.
_EXACT = 1 << 24


class SignMatrix:
    """A matrix of packed signs, prepared once for products.

    With numkong it is kept as that packs it, about as many bits as signs; without, as float32
    numbers of +1 and -1, 4 bytes a sign.

    Parameters
    ----------
    packed : ndarray [N, ceil(k / 8)], uint8
        Packed signs, from `pack_signs`.
    k : int
        Number of signs in a row, below 2**24.

    Raises
    ------
    ValueError
        If the matrix does not hold `k` signs a row, or `k` is out of range.
    """

    def __init__(self, packed: np.ndarray, k: int) -> None:
        check_packed("packed", packed, k)
        if k >= _EXACT:
            raise ValueError(f"k must be below {_EXACT} for exact products, got {k}")
        self.k = k
        self._rows = len(packed)
        self._numkong = simd() if self._rows else None
        if self._numkong is not None:
            self._matrix = self._numkong.hammings_pack(np.ascontiguousarray(packed))
        else:
            self._matrix = unpack_signs(packed, k).T

    def product(self, packed_x: np.ndarray) -> np.ndarray:
        """Multiply with another matrix of packed signs, ``sign(x) @ sign(w).T``.

        The result is the exact integer ``k - 2 * popcount(x xor w)``, the same whether numkong's
        packed Hamming product or the NumPy path computed it: padding bits are 0 on both sides, so
        their exclusive or counts nothing.

        Parameters
        ----------
        packed_x : ndarray [B, ceil(k / 8)], uint8
            Packed signs, from `pack_signs`.

        Returns
        -------
        ndarray [B, N], float32
            Whole numbers, dot products of the rows as vectors of +1 and -1.

        Raises
        ------
        ValueError
            If `packed_x` does not hold `k` signs a row.
        """
        check_packed("packed_x", packed_x, self.k)
        if len(packed_x) == 0 or self._numkong is None:
            return self._numpy_product(packed_x)
        packed_x = np.ascontiguousarray(packed_x)
        distances = np.asarray(self._numkong.hammings_packed(packed_x, self._matrix))
        # Signed, since converting unsigned integers takes longer.
        dots = distances.view(np.int32).astype(np.float32)
        dots *= -2
        dots += self.k
        return dots

    def _numpy_product(self, packed_x: np.ndarray) -> np.ndarray:
        """Multiply through BLAS on +-1.0, five times faster here than `numpy.bitwise_count`."""
        dots = np.empty((len(packed_x), self._rows), dtype=np.float32)
        for start in range(0, len(packed_x), _ROWS):
            rows = slice(start, start + _ROWS)
            np.matmul(unpack_signs(packed_x[rows], self.k), self._matrix, out=dots[rows])
        return dots


class BinaryLinear:
    """A 1-bit linear layer, ``(sign(x) @ sign(w).T) * scale + bias``, prepared once.

    Parameters
    ----------
    signs : ndarray [N, ceil(K / 8)], uint8
        Packed weight signs, from `pack_signs`.
    inputs : int
        Number of inputs K.
    scale, bias : ndarray [N], float32
        Scale and bias of each output.
    """

    def __init__(self, signs: np.ndarray, inputs: int, scale: np.ndarray, bias: np.ndarray) -> None:
        self._signs, self._scale, self._bias = SignMatrix(signs, inputs), scale, bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs, float32 [B, N], of inputs [B, K], of which only the signs count.

        Given `x`, they are bit-identical with and without numkong.
        """
        outputs = self._signs.product(pack_signs(x))
        outputs *= self._scale
        outputs += self._bias
        return outputs
