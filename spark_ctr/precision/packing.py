"""From a quantisation-aware network to the packed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from spark_ctr.kernels import pack_signs
from spark_ctr.networks.layers.numeric_fields import NumericFields
from spark_ctr.networks.network import Network
from spark_ctr.precision.binary import BinaryLinear
from spark_ctr.precision.index8 import index8_quantise, index8_range
from spark_ctr.precision.packed import LOGIT, PACKABLE, PackedModel
from spark_ctr.precision.qat import Index8Embedding, Index8Linear, is_fp32
from spark_ctr.tables import UNCOMPARED

_Packed = tuple[dict[str, Any], dict[str, np.ndarray]]


def check_packable(network: str, config: Mapping[str, Any]) -> None:
    """Refuse a network that the packed model cannot compute.

    Parameters
    ----------
    network : str
        Name in the registry, or an import path.
    config : mapping of str to object
        Its settings, defaults included or not.

    Raises
    ------
    ValueError
    """
    if config.get("members", 1) > 1:
        raise ValueError(
            f"an ensemble of {config['members']} networks cannot be quantised: set members to 1, "
            "or distil it into one network and quantise that"
        )
    low_rank = config.get("cross_rank", 0) > 0 if network == "dcnv2" else False
    if network not in PACKABLE or low_rank:
        what = "'dcnv2' with cross_rank > 0" if low_rank else f"'{network}'"
        raise ValueError(
            f"network {what} cannot be quantised; only {', '.join(map(repr, PACKABLE))} with full "
            "cross matrices can. Distil it into one of these and quantise that: "
            "MixedPrecisionQuantizer(classifier=LayerwiseDistiller(teacher=..., student=...))"
        )


@torch.no_grad()
def pack_network(network: Network) -> PackedModel:
    """Pack a network whose layers are all quantised.

    Parameters
    ----------
    network : Network
        From `spark_ctr.precision.qat.prepare` with a plan that names every layer, usually
        trained since. Left as it is.

    Returns
    -------
    PackedModel
        Its logits are those of the network in evaluation mode, to float32 rounding, except that
        rounding can turn the sign of an input that is 0 to rounding.

    Raises
    ------
    ValueError
        If a layer is still FP32, or the network is none of `packed.PACKABLE`.
    """
    check_packable(network.name, network.config)
    layers: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    for name, module in network.named_modules():
        if is_fp32(module):
            raise ValueError(
                f"layer '{name}' is still FP32; pack a network that prepare() made with a plan "
                "naming every layer"
            )
        packer = next((p for kind, p in _PACKERS.items() if isinstance(module, kind)), None)
        if packer is not None:
            layers[name], parts = packer(module)
            arrays |= {f"{name}.{part}": array for part, array in parts.items()}
    numeric = getattr(network, "numeric", None)
    if numeric is not None:
        layers["numeric"] = {"kind": "bias"}
        arrays["numeric.bias"] = _float(numeric.bias)
    slope, offset = network.get_buffer("logit_calibration")[0].tolist()
    mapped = (slope, offset) != (1.0, 0.0)
    if mapped:
        layers[LOGIT] = {"kind": "affine", "width": 1}
        line = np.array([slope, offset], dtype=np.float32)
        arrays |= {f"{LOGIT}.scale": line[:1], f"{LOGIT}.bias": line[1:]}
    inputs = network.inputs.to_dict()
    # Versions of spark_ctr that know lower formats alone can read what does not need a higher one.
    plain = all(table.keys() <= {"name", "rows", "dim", *UNCOMPARED} for table in inputs["tables"])
    header = {
        "format_version": 3 if mapped else 1 if plain else 2,
        "network": network.name,
        "inputs": inputs,
        "layers": layers,
    }
    return PackedModel(header, arrays)


def _float(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to("cpu", torch.float32, copy=True).reshape(-1).numpy()


def _index8_linear(layer: Index8Linear) -> _Packed:
    scale, minimum = index8_range(layer.weight)
    arrays = {
        "index": index8_quantise(layer.weight, scale, minimum).cpu().numpy(),
        "scale": _float(scale),
        "minimum": _float(minimum),
    }
    if layer.bias is not None:
        arrays["bias"] = _float(layer.bias)
    shape = {"inputs": layer.in_features, "outputs": layer.out_features}
    return {"kind": "int8_linear", **shape, "has_bias": layer.bias is not None}, arrays


def _index8_embedding(layer: Index8Embedding) -> _Packed:
    scale, minimum = layer.ranges()
    tables = layer.weight.detach().split(layer.rows)
    parts = [index8_quantise(t, s, m) for t, s, m in zip(tables, scale, minimum, strict=True)]
    arrays = {
        "index": torch.cat(parts).cpu().numpy(),
        "scale": _float(scale),
        "minimum": _float(minimum),
    }
    return {"kind": "int8_embedding", "rows": layer.rows, "dim": layer.weight.shape[1]}, arrays


def _binary_linear(layer: BinaryLinear) -> _Packed:
    scale, bias = layer.folded()
    signs = pack_signs(layer.weight.detach().cpu().numpy())
    shape = {"inputs": layer.in_features, "outputs": layer.out_features}
    arrays = {"signs": signs, "scale": _float(scale), "bias": _float(bias)}
    return {"kind": "binary_linear", **shape}, arrays


def _numeric_fields(layer: NumericFields) -> _Packed:
    # A vector for each numeric column: too few bytes to save any.
    rows, dim = layer.weight.shape
    weight = layer.weight.detach().to("cpu", torch.float32, copy=True).numpy()
    return {"kind": "vectors", "rows": rows, "dim": dim}, {"weight": weight}


def _batch_norm(layer: nn.BatchNorm1d) -> _Packed:
    scale = layer.weight / torch.sqrt(layer.get_buffer("running_var") + layer.eps)
    bias = layer.bias - layer.get_buffer("running_mean") * scale
    return {"kind": "affine", "width": layer.num_features}, {
        "scale": _float(scale),
        "bias": _float(bias),
    }


def _layer_norm(layer: nn.LayerNorm) -> _Packed:
    arrays = {"scale": _float(layer.weight), "bias": _float(layer.bias)}
    width = layer.normalized_shape[0]
    return {"kind": "layer_norm", "width": width, "epsilon": layer.eps}, arrays


_PACKERS: dict[type[nn.Module], Callable[[Any], _Packed]] = {
    Index8Linear: _index8_linear,
    Index8Embedding: _index8_embedding,
    BinaryLinear: _binary_linear,
    NumericFields: _numeric_fields,
    nn.BatchNorm1d: _batch_norm,
    nn.LayerNorm: _layer_norm,
}
