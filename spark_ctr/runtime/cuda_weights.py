"""Weights of a layer of a plan, as CUDA kernels read them."""

from __future__ import annotations

import numpy as np

from spark_ctr.kernels import cuda
from spark_ctr.runtime.plan import Finish, Layer


def layer_arrays(step: Layer, inputs: int) -> list[np.ndarray]:
    """Return the arrays of a layer in the order of its kernels.

    Parameters
    ----------
    step : Layer
    inputs : int

    Returns
    -------
    list of ndarray
        Weight and threshold of a 1-bit layer that makes signs; else weight, start or offset, scale
        and bias.

    Raises
    ------
    ValueError
        If the kernels do not take them.
    """
    if not step.binary:
        whole = cuda.IntegerLayer(step.weight, step.scale, step.bias, step.zero)
        return [whole.weight, whole.start, whole.scale, whole.bias]
    if step.finish == Finish.SIGNS:
        signs = cuda.SignLayer(step.weight, inputs, step.scale, step.bias)
        return [signs.weight, signs.threshold]
    layer = cuda.FloatLayer(step.weight, inputs, step.scale, step.bias)
    return [layer.weight, layer.offset, layer.scale, layer.bias]
