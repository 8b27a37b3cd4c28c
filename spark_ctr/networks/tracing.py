"""The graph of a network in evaluation mode: which functions it calls on what."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch.fx
from torch import Tensor, nn

from spark_ctr.networks.network import Network

# While it traces, torch.fx has modules of the whole process call their tracer.
_one_at_a_time = threading.Lock()


class _Tracer(torch.fx.Tracer):
    """Traces what its own thread calls; modules of other threads compute as ever."""

    def __init__(self, leaves: tuple[type[nn.Module], ...]) -> None:
        super().__init__(param_shapes_constant=True)
        self._leaves = leaves
        self._thread = threading.get_ident()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self._leaves)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        if threading.get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if threading.get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)


class _Logits(nn.Module):
    """What is traced: no checks of ids, no hidden activations."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, numeric: Tensor) -> Tensor:
        """Return the logits."""
        return self.network._outputs(ids, numeric)[0]


def trace(network: Network, leaves: tuple[type[nn.Module], ...] = ()) -> torch.fx.GraphModule:
    """Trace the logits of a network, `Network.logit_calibration` included, in evaluation mode.

    Parameters
    ----------
    network : Network
        Left as it is. Its modules are below "network" in the graph.
    leaves : tuple of type
        Modules that are operations of their own; others are traced through.

    Returns
    -------
    GraphModule
        Of placeholders "ids" and "numeric", with `leaves` as modules.

    Raises
    ------
    Exception
        Of any kind: a network of a user's own may do what it likes.
    """
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        root = _Logits(network)
        with _one_at_a_time:
            graph = _Tracer(leaves).trace(root)
    finally:
        for module in training:
            module.training = True
    traced = torch.fx.GraphModule(root, graph)
    traced.graph.eliminate_dead_code()
    return traced
