"""Params that choose and shape the network of a CTR classifier."""

from __future__ import annotations

import json
from typing import Any

from pyspark.ml.param import TypeConverters

from spark_ctr.networks.registry import check_name, network_settings
from spark_ctr.stage.base import Stage, number, param

# Settings of a network that have Params of their own.
_SETTING_PARAMS = {
    "hidden_layers": "hiddenLayers",
    "cross_layers": "crossLayers",
    "dropout": "dropout",
    "batch_norm": "batchNorm",
}
# Of every network, a module of the user's own included.
_MEMBERS = {"members": "members"}


def _network(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"network must be a string: {value!r}")
    check_name(value)
    return value


def _options(value: Any) -> dict[str, Any]:
    """Return a copy, so that a stage and its copies share nothing."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"networkOptions must be a dict with string keys: {value!r}")
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"networkOptions must be JSON-able: {error}") from error


class HasNetwork(Stage):
    """Mixin for the network and its settings."""

    network = param(
        "network",
        "'lr' logistic regression, 'fm' factorisation machine, 'dnn' multilayer perceptron, "
        "'deepfm', 'dcnv2' deep and cross network, 'autoint' attention, 'fibinet' bilinear "
        "interactions, 'finalmlp' two streams, or 'package.module:Class', an nn.Module of your "
        "own, which fitting, scoring and loading import",
        _network,
        "dcnv2",
    )
    hiddenLayers = param(
        "hiddenLayers", "widths of the hidden layers", TypeConverters.toListInt, [400, 400]
    )
    crossLayers = param(
        "crossLayers",
        "cross layers of dcnv2",
        number("crossLayers", int, at_least=0, at_most=64),
        3,
    )
    dropout = param(
        "dropout",
        "share of hidden units left out in each step",
        number("dropout", float, at_least=0.0, below=1.0),
        0.2,
    )
    batchNorm = param(
        "batchNorm", "batch normalisation of hidden layers", TypeConverters.toBoolean, True
    )
    members = param(
        "members",
        "networks of this kind, trained side by side from different weights; the score is the mean "
        "of their logits: for a teacher, since scoring takes as many times as long",
        number("members", int, at_least=1, at_most=64),
        1,
    )
    networkOptions = param(
        "networkOptions",
        "further settings of the network by name, JSON-able, such as {'cross_rank': 32}; a module "
        "of your own that is no spark_ctr Network gets these alone",
        _options,
        {},
    )

    def network_config(self) -> dict[str, Any]:
        """Return the settings of the chosen network; Params that it does not have are left out.

        Raises
        ------
        ValueError
            If networkOptions has a key that the network does not have, or that is a Param.
        ImportError, TypeError
            If the network is an import path that does not lead to an nn.Module.
        """
        network, options = self.getNetwork(), self.getNetworkOptions()
        settings = network_settings(network)
        known = {key: name for key, name in _SETTING_PARAMS.items() if key in (settings or ())}
        known |= _MEMBERS
        twice = [f"{key} (set {known[key]})" for key in options if key in known]
        if twice:
            raise ValueError(f"networkOptions holds what is a Param: {', '.join(twice)}")
        unknown = [] if settings is None else sorted(set(options) - set(settings))
        if unknown:
            valid = ", ".join(sorted(set(settings or ()) - set(known))) or "none"
            raise ValueError(
                f"networkOptions: network '{network}' has no {unknown}; its options are: {valid}"
            )
        return {key: self.getOrDefault(name) for key, name in known.items()} | options
