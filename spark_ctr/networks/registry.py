"""Networks by name."""

from __future__ import annotations

from typing import Any

from torch import nn

from spark_ctr.networks.autoint import AutoInt
from spark_ctr.networks.dcnv2 import DCNv2
from spark_ctr.networks.deepfm import DeepFM
from spark_ctr.networks.dnn import DNN
from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.networks.esmm import ESMM
from spark_ctr.networks.factorization_machine import FactorizationMachine
from spark_ctr.networks.fibinet import FiBiNET
from spark_ctr.networks.finalmlp import FinalMLP
from spark_ctr.networks.imported import (
    ModuleNetwork,
    check_imported,
    import_class,
    is_import_path,
)
from spark_ctr.networks.logistic_regression import LogisticRegression
from spark_ctr.networks.mmoe import MMoE
from spark_ctr.networks.network import Network
from spark_ctr.networks.ple import PLE
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.networks.settings import MEMBERS, complete
from spark_ctr.networks.shared_bottom import SharedBottom
from spark_ctr.settings import Setting
from spark_ctr.tables import Inputs

# Of one task.
NETWORKS: dict[str, type[Network]] = {
    network.name: network
    for network in (
        LogisticRegression,
        FactorizationMachine,
        DNN,
        DeepFM,
        DCNv2,
        AutoInt,
        FiBiNET,
        FinalMLP,
    )
}

MULTI_TASK_NETWORKS: dict[str, type[Network]] = {
    network.name: network for network in (SharedBottom, MMoE, PLE, ESMM)
}
BUILT_IN = NETWORKS | MULTI_TASK_NETWORKS


def check_name(name: str) -> None:
    """Refuse what is neither the name of a network nor an import path, without importing it.

    Raises
    ------
    ValueError
    """
    if name not in BUILT_IN and not is_import_path(name):
        raise ValueError(
            f"unknown network {name!r}; choose one of {', '.join(map(repr, BUILT_IN))}, or name a "
            "module of your own 'package.module:Class'"
        )


def network_settings(name: str) -> dict[str, Setting] | None:
    """Return what a network declares, None for a user's module that is not a `Network`.

    See `build_network` for the names and the errors.
    """
    found = _class_of(name)
    return found.settings if issubclass(found, Network) else None


def build_network(
    name: str, inputs: Inputs, config: dict[str, Any] | None = None, seed: int = 0
) -> Network:
    """Build an initialised network in evaluation mode.

    Parameters
    ----------
    name : str
        A key of `BUILT_IN`, or the import path "package.module:Class" of a module of one's own,
        which is imported: a `Network`, or any nn.Module with a constructor of (inputs, config) and
        a forward(ids, numeric) that returns logits [B, T], or [B], for B = 0 and B = 1 too.
    inputs : Inputs
        Columns that the network reads.
    config : dict, optional
        Any of the network's `settings`; the rest take their defaults. A module that is not a
        `Network` gets the dict as it is, which must be JSON-able. For every network, "members"
        above 1 makes an `Ensemble` of as many; the first has the weights of the network alone.
    seed : int
        Seed of the initialisation, whose draws are its own: other threads may draw meanwhile.

    Returns
    -------
    Network

    Raises
    ------
    ValueError
        For an unknown name, an unknown key or a value out of range, or a module that returns no
        such logits, has no parameters, or keeps what cannot be saved.
    ImportError, TypeError
        If the import path does not lead to an nn.Module. TypeError also for a value of another
        kind than its setting's.
    """
    found = _class_of(name)
    own = dict(config or {})
    members = MEMBERS.value("config key 'members'", own.pop("members", MEMBERS.default))
    with RandomDraws(seed).drawing(unknown_code=name not in BUILT_IN):
        built = [_build(found, name, inputs, own) for _ in range(members)]
        network = built[0] if members == 1 else Ensemble(built)
        if name not in BUILT_IN:
            # In here: a lazy module draws its weights when it first runs.
            check_imported(network)
    return network.eval()


def is_built_in(network: nn.Module) -> bool:
    """Return whether a network is one of `BUILT_IN`, which draw in their `Dropout` layers only."""
    return getattr(network, "name", None) in BUILT_IN


def _build(found: type[nn.Module], name: str, inputs: Inputs, config: dict[str, Any]) -> Network:
    if issubclass(found, Network):
        network = found(inputs, complete(name, found.settings, config))
    else:
        network = ModuleNetwork(inputs, config, found)
    network.name = name
    return network


def _class_of(name: str) -> type[nn.Module]:
    check_name(name)
    return BUILT_IN[name] if name in BUILT_IN else import_class(name)
