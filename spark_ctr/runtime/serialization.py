"""Packed models as bytes: safetensors with the JSON header beside the weights; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from safetensors.numpy import load, save

from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.safetensors_header import read_description

_HEADER = "packed"


def packed_to_bytes(model: PackedModel) -> bytes:
    """Serialise a packed model; no pickle."""
    header, arrays = model.to_arrays()
    text = json.dumps(header, separators=(",", ":"))
    return save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata={_HEADER: text})


def packed_from_bytes(data: bytes) -> PackedModel:
    """Rebuild what :func:`packed_to_bytes` wrote, in this or an earlier version.

    Raises
    ------
    ValueError
        If the bytes are damaged or describe no packed network.
    """
    header = read_description(data, _HEADER)
    try:
        arrays = load(data)
    except Exception as error:  # safetensors has a type of its own for each kind of damage
        raise ValueError(f"the weights are damaged: {type(error).__name__} {error}") from None
    return PackedModel.from_arrays(header, arrays)


def predictor_from_bytes(data: bytes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from ids [B, ids_width] and numbers [B, M] to logits [B, T]."""
    return packed_from_bytes(data).predict_logits
