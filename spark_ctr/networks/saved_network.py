"""Checks of a saved network: what its bytes say must be what its architecture needs.

Whoever can write a file can write its checksum too, so shapes, types and numbers are checked, and
nothing is built that the bytes could not fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.safetensors_header import read_description
from spark_ctr.tables import Inputs

_LATE = "logit_calibration"
_MOST_IDS = 1 << 20  # ids of one row of data


def read_tensors(data: bytes, key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Take safetensors apart: the JSON object under a key of its header, and the tensors.

    Raises
    ------
    ValueError
        If the bytes are no safetensors or have no such object.
    """
    described = read_description(data, key)
    try:
        return described, load(data)
    except Exception as error:  # safetensors has a type of its own for each kind of damage
        raise ValueError(f"the weights are damaged: {error}") from None


def check_size(inputs: Inputs, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a description of more than the tensors hold, before it is built.

    Raises
    ------
    ValueError
    """
    elements = sum(tensor.numel() for tensor in tensors.values())
    if inputs.ids_width > _MOST_IDS:
        raise ValueError(f"a row of data would have {inputs.ids_width} ids")
    unread = set() if config.get("context_enhancement", "none") != "none" else {"context_units"}
    for key, value in config.items():
        if key in unread:
            continue
        # Each layer, member or expert has a tensor of its own.
        many = len(tensors) if key == "members" or key.endswith("_layers") else elements
        numbers = value if isinstance(value, list) else [value]
        counted = len(value) if isinstance(value, list) else value
        if _is_number(counted) and counted > max(many, len(inputs.tables)):
            raise ValueError(f"config key {key!r} is {counted}, but there are {many} weights")
        wide = [n for n in numbers if _is_number(n) and n > max(elements, 1)]
        if wide and key != "reduction":
            raise ValueError(f"config key {key!r} is {wide[0]}, but there are {elements} weights")


def check_state(network: nn.Module, tensors: Mapping[str, Tensor], foreign: bool) -> None:
    """Check the tensors against the network's state: names, shapes, types, finite numbers.

    Parameters
    ----------
    network : Module
        May be on the device "meta".
    tensors : mapping of str to Tensor
    foreign : bool
        Whether it is a module of somebody's own, whose buffers may hold what they like.

    Raises
    ------
    ValueError
    """
    # Networks saved before version 2 of models have none, and their logits stay what they are.
    late = {n for n in network.state_dict() if n.rpartition(".")[2] == _LATE} - set(tensors)
    expected = {n: tensor for n, tensor in network.state_dict().items() if n not in late}
    missing, extra = sorted(set(expected) - set(tensors)), sorted(set(tensors) - set(expected))
    if missing or extra:
        raise ValueError(f"the network has tensors {missing} that are missing, {extra} too many")
    for name, wanted in expected.items():
        found = tensors[name]
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            raise ValueError(
                f"tensor '{name}' is {found.dtype} {list(found.shape)}, but the network has "
                f"{wanted.dtype} {list(wanted.shape)}"
            )
    finite = [name for name, _ in network.named_parameters()] if foreign else list(expected)
    for name in finite:
        if not torch.isfinite(tensors[name]).all():
            raise ValueError(f"tensor '{name}' holds numbers that are not finite")
    for name, module in network.named_modules():
        normed = isinstance(module, BatchNorm | nn.BatchNorm1d) and module.running_var is not None
        if normed and bool((tensors[f"{name}.running_var"] < 0).any()):
            raise ValueError(f"tensor '{name}.running_var' holds negative variances")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
