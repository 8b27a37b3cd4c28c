"""Which layers a packed network has: each as wide as what it reads, and none that is not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spark_ctr.precision.packed import LOGIT

Layers = Mapping[str, dict[str, Any]]

_LINEAR = ("int8_linear", "binary_linear")
_NUMBERS = ("rows", "dim", "inputs", "outputs", "width")


def check_header(header: dict[str, Any]) -> None:
    """Check the kinds of values in a packed model's header; its inputs are checked elsewhere.

    Raises
    ------
    ValueError
    """
    layers = header.get("layers")
    if not isinstance(layers, dict) or not all(isinstance(one, dict) for one in layers.values()):
        raise ValueError(f"packed model is damaged: its layers are {layers!r}")
    for name, layer in layers.items():
        for key in _NUMBERS:
            values = layer.get(key, 1)
            values = values if isinstance(values, list) else [values]
            if not all(type(value) is int and 0 <= value < 1 << 31 for value in values):
                raise ValueError(f"packed model is damaged: {key} of '{name}' is {layer[key]!r}")
        if type(layer.get("has_bias", True)) is not bool:
            raise ValueError(f"packed model is damaged: has_bias of '{name}' is no bool")
        epsilon = layer.get("epsilon", 1e-5)
        if type(epsilon) is not float or not 0 < epsilon < 1:
            raise ValueError(f"packed model is damaged: epsilon of '{name}' is {epsilon!r}")


def check_numbers(layers: Layers, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse numbers that are not finite, and signs behind the last input.

    Raises
    ------
    ValueError
    """
    for name, array in arrays.items():
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise ValueError(f"packed model is damaged: '{name}' holds numbers that are not finite")
    for name, layer in layers.items():
        used = layer["inputs"] % 8 if layer["kind"] == "binary_linear" else 0
        if used and (arrays[f"{name}.signs"][:, -1] >> used).any():
            raise ValueError(f"packed model is damaged: '{name}' has signs of inputs it has not")


def check_structure(
    network: str, tables: Sequence[dict[str, Any]], numbers: int, layers: Layers
) -> None:
    """Check which layers there are, and that each is as wide as what it reads.

    NumPy would stretch an array of one column over all columns, and say nothing.

    Parameters
    ----------
    network : str
    tables : sequence of dict
        From `Inputs.to_dict`.
    numbers : int
        Numeric columns.
    layers : mapping of str to dict
        From the header.

    Raises
    ------
    ValueError
    """
    wanted = _wanted(network, tables, numbers, layers)
    if LOGIT in layers:
        wanted[LOGIT] = {"kind": ("affine",), "width": 1}
    missing, extra = sorted(set(wanted) - set(layers)), sorted(set(layers) - set(wanted))
    if missing or extra:
        raise ValueError(
            f"packed model is damaged: network '{network}' lacks layers {missing} and does not "
            f"read {extra}"
        )
    for name, facts in wanted.items():
        # A binary layer always has a bias, and does not say so.
        for key, value in facts.items():
            found = layers[name].get(key, True if key == "has_bias" else None)
            if found not in value if key == "kind" else found != value:
                raise ValueError(
                    f"packed model is damaged: {key} of layer '{name}' is {found!r}, not {value!r}"
                )


def _wanted(
    network: str, tables: Sequence[dict[str, Any]], numbers: int, layers: Layers
) -> dict[str, dict[str, Any]]:
    dims = [table["dim"] for table in tables]
    width = sum(dims) + numbers
    wanted: dict[str, dict[str, Any]] = {}
    if network == "lr":
        wanted |= _embedding("embedding", tables, [1] * len(tables))
        return wanted | _linear_term(numbers)
    wanted |= _embedding("embedding", tables, dims)
    if network in ("fm", "deepfm"):
        k = max(dims, default=1)
        wanted |= {
            f"embedding.projections.{dim}": _linear(dim, k, has_bias=False)
            for dim in sorted(set(dims))
            if dim != k
        }
        wanted |= _embedding("first_order", tables, [1] * len(tables)) | _linear_term(numbers)
    if network == "fm":
        return wanted | {"numeric_fields": {"kind": ("vectors",), "rows": numbers, "dim": k}}
    deep, out = _perceptron(width, layers)
    wanted |= deep
    read = out
    if network == "dcnv2":
        depth = 0
        while f"cross.layers.{depth}" in layers:
            wanted[f"cross.layers.{depth}"] = _linear(width, width)
            depth += 1
        read = width + (out if deep else 0)
    return wanted | {"output": _linear(read, 1, has_bias=network != "deepfm")}


def _embedding(
    name: str, tables: Sequence[dict[str, Any]], dims: Sequence[int]
) -> dict[str, dict[str, Any]]:
    wanted = {}
    for g, dim in enumerate(sorted(set(dims))):
        blocks: dict[Any, int] = {}
        for column, table in enumerate(tables):
            if dims[column] == dim:
                blocks.setdefault(table.get("shared") or column, table["rows"])
        kind = ("int8_embedding",)
        wanted[f"{name}.weights.{g}"] = {"kind": kind, "rows": list(blocks.values()), "dim": dim}
    return wanted


def _linear(inputs: int, outputs: int, has_bias: bool = True) -> dict[str, Any]:
    kinds = _LINEAR if has_bias else ("int8_linear",)
    return {"kind": kinds, "inputs": inputs, "outputs": outputs, "has_bias": has_bias}


def _linear_term(numbers: int) -> dict[str, dict[str, Any]]:
    term: dict[str, dict[str, Any]] = {"numeric": {"kind": ("bias",)}}
    if numbers:
        term["numeric.linear"] = _linear(numbers, 1, has_bias=False)
    return term


def _perceptron(width: int, layers: Layers) -> tuple[dict[str, dict[str, Any]], int]:
    """Hidden layers, as deep as they are, and the width behind them."""
    wanted: dict[str, dict[str, Any]] = {}
    while (name := f"mlp.layers.hidden_{len(wanted)}.linear") in layers:
        outputs = layers[name].get("outputs", 0)
        wanted[name] = _linear(width, outputs)
        width = outputs
    norms = {}
    for name in wanted:
        norm = name.removesuffix("linear") + "norm"
        if norm in layers:
            kinds = ("affine", "layer_norm")
            norms[norm] = {"kind": kinds, "width": layers[name].get("outputs")}
    return wanted | norms, width
