"""Packed models as bytes: safetensors with the JSON header beside the weights; needs no torch."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from spark_ctr.runtime.container import read_arrays, write_arrays
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.safetensors_header import read_description

_HEADER = "packed"


def packed_to_bytes(model: PackedModel) -> bytes:
    """Serialise a packed model; no pickle."""
    header, arrays = model.to_arrays()
    return write_arrays(arrays, {_HEADER: json.dumps(header, separators=(",", ":"))})


def packed_from_bytes(data: bytes | memoryview) -> PackedModel:
    """Rebuild what :func:`packed_to_bytes` wrote, in this or an earlier version.

    Parameters
    ----------
    data : bytes or memoryview
        Read where it is: the model's arrays are views of it, and it must not change.

    Raises
    ------
    ValueError
        If the bytes are damaged or describe no packed network.
    """
    return PackedModel.from_arrays(read_description(data, _HEADER), read_arrays(data))


def predictor_from_bytes(
    data: bytes | memoryview, gpu: int | None = None, required: bool = False
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from ids [B, ids_width] and numbers [B, M] to logits [B, T].

    With `gpu` it computes on that GPU; see `spark_ctr.runtime.cuda_predictor.cuda_predictor`.
    """
    model = packed_from_bytes(data)
    if gpu is None:
        return model.predict_logits
    from spark_ctr.runtime.cuda_predictor import cuda_predictor

    return cuda_predictor(model, gpu, required)
