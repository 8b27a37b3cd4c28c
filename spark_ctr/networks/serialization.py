"""Networks as bytes: safetensors with the architecture in its header."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from spark_ctr.networks.inputs import Inputs
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import build_network


def network_to_bytes(network: Network) -> bytes:
    """Serialise weights and architecture; no pickle.

    A module of the user's own is saved as its import path, its settings and its weights.
    """
    header = {
        "network": network.name,
        "config": network.config,
        "inputs": network.inputs.to_dict(),
    }
    # One entry: safetensors writes several in random order, and equal networks must be equal bytes.
    return save(
        separate(network.state_dict()),
        metadata={"architecture": json.dumps(header, sort_keys=True)},
    )


def network_from_bytes(data: bytes) -> Network:
    """Rebuild what :func:`network_to_bytes` wrote, in evaluation mode on the CPU.

    Where the bytes name an import path, this imports the module and so runs its code: load models
    with networks of other people's only from people whom you trust. The module's file itself is
    never part of the bytes.

    Raises
    ------
    ValueError, ImportError, TypeError
        See :func:`spark_ctr.networks.registry.build_network`.
    """
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    architecture = json.loads(header["architecture"])
    network = build_network(
        architecture["network"],
        Inputs.from_dict(architecture["inputs"]),
        architecture["config"],
    )
    network.load_state_dict(load(data))
    return network.eval()


def separate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors that share memory (tied weights) copies, since safetensors refuses them."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, value in state.items():
        pointer = value.untyped_storage().data_ptr()
        separate[name] = value.clone() if pointer in seen else value.contiguous()
        seen.add(pointer)
    return separate


def predictor_from_bytes(data: bytes) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from ids [B, ids_width] int32 and numbers [B, M] float32 to logits [B]."""
    network = network_from_bytes(data)
    # Spark already runs one Python worker per core.
    torch.set_num_threads(1)

    def predict(ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(
                torch.from_numpy(np.ascontiguousarray(ids)),
                torch.from_numpy(np.ascontiguousarray(numeric)),
            ).numpy()

    return predict
