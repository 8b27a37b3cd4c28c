"""The packed arrays of quantised layers and norms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from spark_ctr.kernels import pack_index4, pack_signs
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.index4 import index4_quantise
from spark_ctr.precision.index8 import index8_quantise
from spark_ctr.precision.qat import Index8Embedding, Index8Linear

Arrays = dict[str, np.ndarray]


def float_array(tensor: Tensor) -> np.ndarray:
    """Return a float32 copy of a tensor."""
    return tensor.detach().to("cpu", torch.float32, copy=True).numpy()


def linear_arrays(layer: nn.Linear | Index8Linear | BinaryLinear) -> tuple[str, Arrays]:
    """Return the kind of operation and the arrays of a linear layer.

    Those of one that is still FP32 have the right shapes, and are zeros that take no memory.
    """
    outputs, inputs = layer.out_features, layer.in_features
    if isinstance(layer, BinaryLinear):
        scale, bias = layer.folded()
        signs = pack_signs(layer.weight.detach().cpu().numpy())
        return "binary_linear", {
            "signs": signs,
            "scale": float_array(scale),
            "bias": float_array(bias),
        }
    if isinstance(layer, Index8Linear):
        weight, scale = layer.whole()
        arrays = {
            "index": index8_quantise(weight, scale).cpu().numpy(),
            "scale": float_array(scale).reshape(-1),
        }
        if layer.levels is not None:
            arrays["inverse"] = float_array(layer.levels.inverse)
            bias = layer.bias
            arrays["bias"] = _zeros(outputs) if bias is None else float_array(bias)
            return "integer_linear", arrays
        arrays["minimum"] = _minimum(arrays["scale"])
    else:
        arrays = {"index": _nothing(outputs, inputs), "scale": _zeros(1), "minimum": _zeros(1)}
    if layer.bias is not None:
        arrays["bias"] = float_array(layer.bias)
    return "linear", arrays


def embedding_arrays(layer: nn.Embedding, rows: list[int]) -> Arrays:
    """Return the arrays of stacked tables, of `rows` rows each; see `linear_arrays`."""
    if not isinstance(layer, Index8Embedding):
        blocks = _zeros(len(rows))
        index = _nothing(sum(rows), layer.embedding_dim)
        return {"index": index, "scale": blocks, "minimum": blocks}
    tables = layer.weight.detach().split(layer.rows)
    coarse = coarse_rows(layer, len(rows))
    parts = [
        index8_quantise(part, scale)
        for table, scale, (first, last) in zip(tables, layer.scale, coarse, strict=True)
        for part in (table[:first], table[last:])
    ]
    scales = float_array(layer.scale)
    arrays = {
        "index": torch.cat(parts).cpu().numpy(),
        "scale": scales,
        "minimum": _minimum(scales),
    }
    if layer.factor is not None:
        factors = layer.factor.split(layer.rows)
        packed = [
            pack_index4(
                index4_quantise(t[a:b], scale, factor[a:b, None]).cpu().numpy(),
                factor[a:b].cpu().numpy(),
            )
            for t, scale, factor, (a, b) in zip(tables, layer.scale, factors, coarse, strict=True)
        ]
        arrays["nibbles"] = np.concatenate(packed)
    return arrays


def coarse_rows(layer: nn.Embedding, blocks: int) -> list[list[int]]:
    """Return rows [first, last) of 4 bits of each block of stacked tables."""
    if not isinstance(layer, Index8Embedding) or layer.coarse is None:
        return [[0, 0]] * blocks
    return [[first, last] for first, last in layer.coarse]


def batch_norm_map(layer: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray]:
    """Return the factor and the shift of batch normalisation in evaluation mode.

    Raises
    ------
    ValueError
        If it has no running statistics.
    """
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None:
        raise ValueError("batch normalisation without running statistics")
    weight = torch.ones_like(variance) if layer.weight is None else layer.weight
    bias = torch.zeros_like(mean) if layer.bias is None else layer.bias
    scale = weight / torch.sqrt(variance + layer.eps)
    shift = bias - mean * scale
    return float_array(scale), float_array(shift)


def layer_norm_arrays(layer: nn.LayerNorm) -> Arrays:
    """Return the arrays of layer normalisation over the last axis.

    Raises
    ------
    ValueError
        If it normalises over several axes.
    """
    if len(layer.normalized_shape) != 1:
        raise ValueError("layer normalisation over several axes")
    width = layer.normalized_shape[0]
    scale, bias = layer.weight, layer.bias
    return {
        "scale": np.ones(width, np.float32) if scale is None else float_array(scale),
        "bias": np.zeros(width, np.float32) if bias is None else float_array(bias),
    }


def _minimum(scale: np.ndarray) -> np.ndarray:
    """Return the value of index -128, by which that of index 0 is exactly 0."""
    return -128 * scale


def _nothing(*shape: int) -> np.ndarray:
    return np.broadcast_to(np.int8(0), shape)


def _zeros(width: int) -> np.ndarray:
    return np.zeros(width, np.float32)
