"""Params that choose and shape the network of a CTR classifier."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from pyspark.ml.param import Param

from spark_ctr.networks.registry import BUILT_IN, NETWORKS, check_name, network_settings
from spark_ctr.networks.settings import MEMBERS
from spark_ctr.stage.base import Stage, number, param, setting_param
from spark_ctr.tables import Inputs

# Settings of networks that have Params of their own, by Param.
_SHAPE = {
    "hiddenLayers": "hidden_layers",
    "crossLayers": "cross_layers",
    "dropout": "dropout",
    "batchNorm": "batch_norm",
    "contextEnhancement": "context_enhancement",
    "contextCols": "context_columns",
}
# Those that mean nothing to a network that has no such setting, and are then refused.
_MEANT = ("contextEnhancement", "contextCols")


def _shape_param(name: str) -> Any:
    """Declare a Param without a default: unset, it is what the chosen network declares."""
    setting = NETWORKS["dcnv2"].settings[_SHAPE[name]]
    doc = f"{setting.doc}; unset: the network's own"
    return setting_param(name, replace(setting, default=None, doc=doc))


def network_name(value: Any) -> str:
    """Check a value of the Param ``network``, without importing what it names."""
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
        network_name,
        "dcnv2",
    )
    hiddenLayers = _shape_param("hiddenLayers")
    crossLayers = _shape_param("crossLayers")
    dropout = _shape_param("dropout")
    batchNorm = _shape_param("batchNorm")
    contextEnhancement = _shape_param("contextEnhancement")
    contextCols = _shape_param("contextCols")
    embeddingDim = param(
        "embeddingDim",
        "widest embedding row: columns whose table is planned wider get this width; unset: as "
        "HashedEmbeddingEncoder planned",
        number("embeddingDim", int, at_least=1),
    )
    members = setting_param("members", MEMBERS)
    networkOptions = param(
        "networkOptions",
        "further settings of the network by name, JSON-able, such as {'cross_rank': 32}; a module "
        "of your own that is no spark_ctr Network gets these alone",
        _options,
        {},
    )

    def network_config(self) -> dict[str, Any]:
        """Return the settings of the chosen network that are set; the others are its own defaults.

        Params that the network does not have are left out, but for those of its context.

        Raises
        ------
        ValueError
            If networkOptions has a key that the network does not have, or that is a Param; if the
            network has no context and its Params are set.
        ImportError, TypeError
            If the network is an import path that does not lead to an nn.Module.
        """
        network, options = self.getNetwork(), self.getNetworkOptions()
        settings = network_settings(network)
        known = {key: name for name, key in _SHAPE.items() if key in (settings or ())}
        known["members"] = "members"  # of every network, a module of the user's own included
        twice = [f"{key} (set {known[key]})" for key in options if key in known]
        if twice:
            raise ValueError(f"networkOptions holds what is a Param: {', '.join(twice)}")
        meant = [name for name in _MEANT if self._value(name) not in (None, "none", [])]
        if meant and _SHAPE[meant[0]] not in known:
            raise ValueError(
                f"{meant[0]} is set, and network '{network}' has no part that enhances embeddings "
                "by a context: clear it or choose another network; a Network of your own declares "
                "spark_ctr.networks.context_settings()"
            )
        unknown = [] if settings is None else sorted(set(options) - set(settings))
        if unknown:
            valid = ", ".join(sorted(set(settings or ()) - set(known))) or "none"
            raise ValueError(
                f"networkOptions: network '{network}' has no {unknown}; its options are: {valid}"
            )
        values = {key: self._value(name) for key, name in known.items()}
        return {key: value for key, value in values.items() if value is not None} | options

    def network_inputs(self, inputs: Inputs) -> Inputs:
        """Return the columns of the data as the network has them, ``embeddingDim`` wide at most."""
        dim = self._value("embeddingDim")
        return inputs if dim is None else inputs.at_most(dim)

    def getOrDefault(self, param: Any) -> Any:
        """Value of a Param; of an unset one that shapes the network, the network's own default.

        Raises
        ------
        ValueError
            If the chosen network has no such setting.
        """
        declared = self._resolveParam(param)
        if declared.name not in _SHAPE or self.isDefined(declared):
            return super().getOrDefault(declared)
        key, own = _SHAPE[declared.name], self._network_defaults()
        if key not in own:
            raise ValueError(
                f"{declared.name} is unset: network '{self.getNetwork()}' has no {key}"
            )
        return own[key]

    def explainParam(self, param: str | Param) -> str:
        """Name, doc, default and value of a Param."""
        declared = self._resolveParam(param)
        own = declared.name in _SHAPE and not self.isDefined(declared)
        # An import path stands for code that printing must not run.
        if not own or self.getNetwork() not in BUILT_IN:
            return super().explainParam(declared)
        value = self._network_defaults().get(_SHAPE[declared.name], "none")
        return f"{declared.name}: {declared.doc} (default: {value})"

    def _network_defaults(self) -> dict[str, Any]:
        """Return what the chosen network takes for settings that are not given."""
        settings = network_settings(self.getNetwork()) or {}
        return {key: of.value(key, of.default) for key, of in settings.items()}
