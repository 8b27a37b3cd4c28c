"""Layers on 8-bit indices: ``value = (index + 128) * scale + minimum``.

The affine form and the range of the index are those of SensiMix (Piao et al., PLOS ONE 2022).
"""

from __future__ import annotations

import numpy as np


def index8_values(
    indices: np.ndarray, scale: np.ndarray | np.float32, minimum: np.ndarray | np.float32
) -> np.ndarray:
    """Return the values of indices.

    Parameters
    ----------
    indices : ndarray, int8
    scale, minimum : float32, or ndarray that broadcasts against `indices`
        The affine map of the table, or of each number where tables are stacked.

    Returns
    -------
    ndarray, float32, of the shape of `indices`
        ``indices * scale + (minimum + 128 * scale)`` in float32.
    """
    scale = np.asarray(scale, dtype=np.float32)
    values = indices.astype(np.float32)
    values *= scale
    values += offset_of(scale, minimum)
    return values


class Index8Linear:
    """A linear layer whose weight is stored as 8-bit indices, prepared once.

    Computes ``x @ (index * scale + (minimum + 128 * scale)).T + bias``. The product accumulates in
    float32 in the order of the BLAS in use, so the result agrees with the exact one to about
    ``K * 2**-24 * sum(|x| * (|index * scale| + |minimum + 128 * scale|))`` and may differ in the
    last bits between machines and batch heights.

    The dequantised weight is kept, 4 bytes for each of the N K weights and process, besides the
    indices: dense layers are small beside the tables, which are never kept so.

    Parameters
    ----------
    weight : ndarray [N, K], int8
        Indices of the weight.
    scale, minimum : float32, or ndarray [1] or [N], float32
        The affine map of the weight, or of each output's weights.
    bias : ndarray [N], float32, optional
        Bias of each output.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray | np.float32,
        minimum: np.ndarray | np.float32,
        bias: np.ndarray | None = None,
    ) -> None:
        values = weight.astype(np.float32)
        values *= np.asarray(scale, dtype=np.float32).reshape(-1, 1)
        values += offset_of(scale, minimum).reshape(-1, 1)
        self._weight, self._bias = values.T, bias

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return the outputs, float32 [B, N], of inputs [B, K], float32."""
        outputs = np.matmul(x, self._weight)
        if self._bias is not None:
            outputs += self._bias
        return outputs


def offset_of(scale: np.ndarray | np.float32, minimum: np.ndarray | np.float32) -> np.ndarray:
    """Return the value of index 0, ``minimum + 128 * scale``, in float32."""
    scale = np.asarray(scale, dtype=np.float32)
    return np.asarray(minimum, dtype=np.float32) + np.float32(128) * scale
