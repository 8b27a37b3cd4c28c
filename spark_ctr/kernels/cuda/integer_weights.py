"""Weights of 8-bit layers on levels, prepared for the device: fragments, starts of the sums."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels.cuda.rows import levels_to_device_rows
from spark_ctr.kernels.cuda.weights import check_outputs, fragments, padded
from spark_ctr.kernels.levels import MOST_INPUTS


class IntegerLayer:
    """What the kernels of ``integer_linear`` read besides their input.

    Parameters
    ----------
    index : ndarray [N, K], int8
        Weights.
    scale, bias : ndarray [N], float32
        Scale and bias of each output, finite.
    zero : int
        The input level of 0, in [0, 255].

    Attributes
    ----------
    weight : ndarray, uint32
        Weights in the order in which the lanes of a warp load them; 16-byte aligned on the device.
    start : ndarray [padded N], int32
        ``-zero * sum(index)`` of each output, from which its sum starts.
    scale, bias : ndarray [padded N], float32
        Padded with zeros to a multiple of 64 outputs.

    Raises
    ------
    ValueError
        If the arrays do not fit one another, `zero` is no level, or there are more than 32,768
        inputs, whose sums may not fit 32 bits.
    """

    def __init__(self, index: np.ndarray, scale: np.ndarray, bias: np.ndarray, zero: int) -> None:
        if index.ndim != 2 or index.dtype != np.int8 or not 1 <= index.shape[1] <= MOST_INPUTS:
            raise ValueError(
                f"index must be an int8 matrix of 1 to {MOST_INPUTS} columns, got {index.dtype} "
                f"{index.shape}"
            )
        if not 0 <= zero <= 255:
            raise ValueError(f"zero must be in [0, 255], got {zero}")
        check_outputs(len(index), scale, bias)
        self.outputs, self.inputs = index.shape
        self.weight = fragments(levels_to_device_rows(index))
        self.start = padded((-zero * index.sum(axis=1, dtype=np.int64)).astype(np.int32), 0)
        self.scale, self.bias = padded(scale, 0), padded(bias, 0)


def level_inverse(inverse: np.ndarray, outputs: int) -> np.ndarray:
    """Prepare the steps of the levels that a kernel writes.

    Parameters
    ----------
    inverse : ndarray [1] or [outputs], float32
        Levels for a difference of 1, above 0 and finite.
    outputs : int
        Outputs of the layer, or width of the embeddings.

    Returns
    -------
    ndarray [padded outputs], float32
        One for each output, then zeros up to a multiple of 64.

    Raises
    ------
    ValueError
        If `inverse` is not of such a shape, dtype or range.
    """
    if inverse.dtype != np.float32 or inverse.shape not in ((1,), (outputs,)):
        raise ValueError(
            f"inverse must be float32 [1] or [{outputs}], got {inverse.dtype} {inverse.shape}"
        )
    if not (np.isfinite(inverse) & (inverse > 0)).all():
        raise ValueError("inverse must be finite and above 0")
    return padded(np.broadcast_to(inverse, outputs), 0)
