"""Packed models as bytes: safetensors with the JSON header beside the weights; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from safetensors.numpy import load, save

from spark_ctr.precision.packed import PackedModel


def packed_to_bytes(model: PackedModel) -> bytes:
    """Serialise a packed model; no pickle."""
    header, arrays = model.to_arrays()
    text = json.dumps(header, separators=(",", ":"))
    return save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata={"packed": text})


def packed_from_bytes(data: bytes) -> PackedModel:
    """Rebuild what :func:`packed_to_bytes` wrote."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    return PackedModel.from_arrays(json.loads(header["packed"]), load(data))


def predictor_from_bytes(data: bytes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from ids [B, ids_width] and numbers [B, M] to logits [B, T]."""
    return packed_from_bytes(data).predict_logits
