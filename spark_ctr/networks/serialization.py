"""Networks as bytes: safetensors with the architecture in its header."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from spark_ctr.networks.flat import flat
from spark_ctr.networks.imported import is_import_path
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import BUILT_IN, build_network, is_built_in
from spark_ctr.networks.saved_network import check_size, check_state, read_tensors
from spark_ctr.networks.trust import check_trusted
from spark_ctr.safetensors_header import read_description
from spark_ctr.tables import Inputs

_HEADER = "architecture"


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
        metadata={_HEADER: json.dumps(header, sort_keys=True)},
    )


def network_from_bytes(data: bytes) -> Network:
    """Rebuild what :func:`network_to_bytes` wrote, in evaluation mode on the CPU.

    Where the bytes name an import path, this imports the module and so runs its code, if it is
    trusted: see :func:`spark_ctr.networks.trust.trust`. The module's file itself is never part of
    the bytes.

    Raises
    ------
    ValueError, ImportError, TypeError
        For bytes that are damaged, or that describe another network than their tensors make; see
        also :func:`spark_ctr.networks.registry.build_network`.
    UntrustedModuleError
    """
    name = read_description(data, _HEADER).get("network")
    if isinstance(name, str) and is_import_path(name):
        check_trusted(name)
    return trusted_network_from_bytes(data)


def trusted_network_from_bytes(
    data: bytes, change: Callable[[Network], Network] | None = None
) -> Network:
    """Rebuild a network whose bytes this program made itself; see :func:`network_from_bytes`.

    Where its structure was changed after it was built, `change` does so again.
    """
    described, tensors = read_tensors(data, _HEADER)
    for key, tensor in tensors.items():
        # Before there were tasks, there was one slope and one offset.
        if key.rpartition(".")[2] == "logit_calibration" and tensor.shape == (2,):
            tensors[key] = tensor[None]
    name, config = described.get("network"), described.get("config")
    if not isinstance(name, str) or not isinstance(config, dict) or "inputs" not in described:
        raise ValueError(f"the header names no network but {name!r}, settings {config!r}")
    inputs = Inputs.from_dict(described["inputs"])
    foreign = name not in BUILT_IN
    check_size(inputs, {} if foreign else config, tensors)
    if not foreign and change is None:
        # On this device nothing takes memory, however large a forged header makes it.
        with torch.device("meta"):
            check_state(build_network(name, inputs, config), tensors, foreign)
    network = build_network(name, inputs, config)
    if change is not None:
        network = change(network)
    check_state(network, tensors, foreign)
    network.load_state_dict(tensors)
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
    """Return a function from ids [B, ids_width] and numbers [B, M] to logits [B, T]."""
    # Spark already runs one Python worker per core.
    torch.set_num_threads(1)
    # The driver sent these bytes, so what they name is trusted.
    return predictor_of(trusted_network_from_bytes(data))


def predictor_of(network: Network) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return what serves a network, in evaluation mode on the CPU; see `predictor_from_bytes`."""
    logits = flat(network) if is_built_in(network) else network

    def predict(ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return logits(_tensor(ids), _tensor(numeric)).numpy()

    return predict


def _tensor(values: np.ndarray) -> Tensor:
    # torch warns of memory that it must not write to, such as that of a batch of Arrow.
    return torch.from_numpy(np.require(values, requirements=("C", "W")))
