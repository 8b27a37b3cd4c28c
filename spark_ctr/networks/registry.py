"""Networks by name."""

from __future__ import annotations

from typing import Any

import torch

from spark_ctr.networks.dcnv2 import DCNv2
from spark_ctr.networks.deepfm import DeepFM
from spark_ctr.networks.dnn import DNN
from spark_ctr.networks.inputs import Inputs
from spark_ctr.networks.logistic_regression import LogisticRegression
from spark_ctr.networks.network import Network

NETWORKS: dict[str, type[Network]] = {
    network.name: network for network in (LogisticRegression, DNN, DCNv2, DeepFM)
}


def build_network(
    name: str, inputs: Inputs, config: dict[str, Any] | None = None, seed: int = 0
) -> Network:
    """Build an initialised network in evaluation mode.

    Parameters
    ----------
    name : {"lr", "dnn", "dcnv2", "deepfm"}
    inputs : Inputs
        Columns that the network reads.
    config : dict, optional
        Any of `hidden_layers` (list of int), `cross_layers` (int, dcnv2 only), `dropout` (float in
        [0, 1)), `batch_norm` and `layer_norm` (bool, at most one); the rest take the network's
        defaults. "lr" has no settings.
    seed : int
        Seed of the initialisation. The global random state is left as it was.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For an unknown name, an unknown key or a value out of range.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network '{name}'; choose one of {sorted(NETWORKS)}")
    full = _complete(name, NETWORKS[name].defaults, config or {})
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed the CUDA generators too.
        torch.default_generator.manual_seed(seed)
        return NETWORKS[name](inputs, full).eval()


def _complete(name: str, defaults: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(config) - set(defaults))
    if unknown:
        valid = ", ".join(sorted(defaults)) or "none"
        raise ValueError(
            f"unknown config key(s) {unknown} of network '{name}'; valid keys: {valid}"
        )
    full = {**defaults, **config}
    for key, value in full.items():
        full[key] = _check(key, value)
    if full.get("batch_norm") and full.get("layer_norm"):
        raise ValueError("set at most one of batch_norm and layer_norm")
    return full


def _check(key: str, value: Any) -> Any:
    """Return the value in a JSON-able form or raise ValueError."""

    def is_int(number: Any) -> bool:
        return isinstance(number, int) and not isinstance(number, bool)

    if key == "hidden_layers":
        if isinstance(value, (list, tuple)) and all(is_int(w) and w >= 1 for w in value):
            return list(value)
        wanted = "a list of positive ints"
    elif key == "cross_layers":
        if is_int(value) and value >= 0:
            return value
        wanted = "an int >= 0"
    elif key == "dropout":
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1:
            return float(value)
        wanted = "a float in [0, 1)"
    else:
        if isinstance(value, bool):
            return value
        wanted = "a bool"
    raise ValueError(f"config key '{key}' must be {wanted}, got {value!r}")
