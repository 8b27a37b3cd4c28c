"""Layers on 8-bit indices: ``value = (index + 128) * scale + minimum``.

The affine form and the range of the index are those of SensiMix (Piao et al., PLOS ONE 2022).
"""

from __future__ import annotations

import numpy as np

# Elements of an int8 weight cast to float32 at a time (1 MiB of float32).
_BLOCK = 1 << 18


def index8_embedding(
    indices: np.ndarray,
    scale: np.ndarray | np.float32,
    minimum: np.ndarray | np.float32,
    ids: np.ndarray,
) -> np.ndarray:
    """Look rows up in a table of 8-bit indices and dequantise them.

    Parameters
    ----------
    indices : ndarray [rows, dim], int8
        The quantised table.
    scale, minimum : float32, or ndarray that broadcasts against ``[*ids.shape, dim]``
        The affine map of the table, or of each looked-up row where tables are stacked.
    ids : ndarray [...], int
        Row numbers in ``[0, rows)``.

    Returns
    -------
    ndarray [..., dim], float32
        ``indices[ids] * scale + (minimum + 128 * scale)`` in float32.

    Raises
    ------
    IndexError
        If an id is out of range.
    """
    scale = np.asarray(scale, dtype=np.float32)
    values = indices.take(ids, axis=0).astype(np.float32)
    values *= scale
    values += offset_of(scale, minimum)
    return values


def index8_linear(
    x: np.ndarray,
    weight: np.ndarray,
    scale: np.float32,
    minimum: np.float32,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Apply a linear layer whose weight is stored as 8-bit indices.

    Computes ``scale * (x @ index.T) + (minimum + 128 * scale) * sum(x) + bias``. The product
    accumulates in float32 in the order of the BLAS in use, so the result agrees with the exact
    one to about ``K * 2**-24 * sum(|x| * |w|)`` and may differ in the last bits between machines
    and batch heights.

    Parameters
    ----------
    x : ndarray [B, K], float32
        Inputs.
    weight : ndarray [N, K], int8
        Indices of the weight, cast to float32 a block of rows at a time.
    scale, minimum : float32
        The affine map of the weight.
    bias : ndarray [N], float32, optional
        Bias of each output.

    Returns
    -------
    ndarray [B, N], float32
        The outputs.
    """
    scale = np.float32(scale)
    outputs = np.empty((len(x), len(weight)), dtype=np.float32)
    step = max(1, _BLOCK // max(1, weight.shape[1]))
    for start in range(0, len(weight), step):
        rows = slice(start, start + step)
        np.matmul(x, weight[rows].astype(np.float32).T, out=outputs[:, rows])
    outputs *= scale
    outputs += offset_of(scale, minimum) * x.sum(axis=1, dtype=np.float32, keepdims=True)
    if bias is not None:
        outputs += bias
    return outputs


def offset_of(
    scale: np.ndarray | np.float32, minimum: np.ndarray | np.float32
) -> np.ndarray | np.float32:
    """Return the value of index 0, ``minimum + 128 * scale``, in float32."""
    return np.asarray(minimum, dtype=np.float32) + np.float32(128) * np.float32(scale)
