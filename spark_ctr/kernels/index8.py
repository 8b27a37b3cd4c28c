"""Layers on 8-bit indices: ``value = (index + 128) * scale + minimum``.

The affine form and the range of the index are those of SensiMix (Piao et al., PLOS ONE 2022).
"""

from __future__ import annotations

import numpy as np

# Elements of an int8 weight dequantised at a time (1 MiB of float32).
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
    scale: np.ndarray | np.float32,
    minimum: np.ndarray | np.float32,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """Apply a linear layer whose weight is stored as 8-bit indices.

    Computes ``x @ (index * scale + (minimum + 128 * scale)).T + bias``. The product accumulates in
    float32 in the order of the BLAS in use, so the result agrees with the exact one to about
    ``K * 2**-24 * sum(|x| * (|index * scale| + |minimum + 128 * scale|))`` and may differ in the
    last bits between machines and batch heights.

    Parameters
    ----------
    x : ndarray [B, K], float32
        Inputs.
    weight : ndarray [N, K], int8
        Indices of the weight, dequantised to float32 a block of rows at a time.
    scale, minimum : float32, or ndarray [N], float32
        The affine map of the weight, or of each output's weights.
    bias : ndarray [N], float32, optional
        Bias of each output.

    Returns
    -------
    ndarray [B, N], float32
        The outputs.
    """
    outputs = np.empty((len(x), len(weight)), dtype=np.float32)
    scales = np.broadcast_to(np.asarray(scale, dtype=np.float32), len(weight))
    offsets = np.broadcast_to(offset_of(scale, minimum), len(weight))
    step = max(1, _BLOCK // max(1, weight.shape[1]))
    for start in range(0, len(weight), step):
        rows = slice(start, start + step)
        # The weight is smaller than the outputs, so it is what gets scaled.
        values = weight[rows].astype(np.float32)
        values *= scales[rows, None]
        values += offsets[rows, None]
        np.matmul(x, values.T, out=outputs[:, rows])
    if bias is not None:
        outputs += bias
    return outputs


def offset_of(
    scale: np.ndarray | np.float32, minimum: np.ndarray | np.float32
) -> np.ndarray | np.float32:
    """Return the value of index 0, ``minimum + 128 * scale``, in float32."""
    scale = np.asarray(scale, dtype=np.float32)
    return np.asarray(minimum, dtype=np.float32) + np.float32(128) * scale
