"""A network as one flat function: what serves, without the cost of calling modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from types import SimpleNamespace

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.networks.tracing import trace

# Rows whose activations stay in a core's cache: larger batches wait for memory.
CHUNK_ROWS = 2048


def flat(network: Network) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a function that computes what a network does, in less time.

    The network is traced once, and its weights are bound to the functions that it calls: looking
    up and calling modules takes most of the time of a row that comes alone. Batch normalisation
    goes into the linear layer before it. A large batch is computed in chunks.

    Parameters
    ----------
    network : Network
        One of `networks.registry.BUILT_IN`, in evaluation mode on the CPU. Left as it is; the
        function has the tensors of its weights.

    Returns
    -------
    function
        From ids, int [B, ids_width], and numbers, float32 [B, M], to logits [B, T]; it raises what
        `Network.forward` raises. Logits are those of the network to the bit without batch
        normalisation and chunks, else to float32 rounding: within 1e-5 of the largest.
    """
    compute = _traced(network)

    def logits(ids: Tensor, numeric: Tensor) -> Tensor:
        network.check(ids, numeric)
        if len(ids) <= CHUNK_ROWS:
            return compute(ids, numeric)
        chunks = zip(ids.split(CHUNK_ROWS), numeric.split(CHUNK_ROWS), strict=True)
        return torch.cat([compute(*chunk) for chunk in chunks])

    return logits


def _traced(network: Network) -> Callable[[Tensor, Tensor], Tensor]:
    traced = folded(trace(network))
    weights = SimpleNamespace()
    for node in traced.graph.nodes:
        if node.op == "get_attr":
            # An attribute of a module is looked up in Python, one of this object is not.
            setattr(weights, node.name, attrgetter(node.target)(traced).detach())
            node.target = node.name
    traced.recompile()
    return partial(type(traced).forward, weights)


def folded(traced: fx.GraphModule) -> fx.GraphModule:
    """Let each linear layer that only batch normalisation reads compute the normalised values.

    Parameters
    ----------
    traced : GraphModule
        From `trace`; changed.
    """
    for node in list(traced.graph.nodes):
        if node.target is not F.batch_norm:
            continue
        linear, mean, variance = node.args
        if linear.target is not F.linear or len(linear.users) > 1:
            continue
        x, weight, bias = linear.args

        def value(of: fx.Node) -> Tensor:
            return attrgetter(str(of.target))(traced).detach().double()

        factor = value(node.kwargs["weight"]) / torch.sqrt(value(variance) + node.kwargs["eps"])
        folded = {
            "weight": value(weight) * factor[:, None],
            "bias": (value(bias) - value(mean)) * factor + value(node.kwargs["bias"]),
        }
        with traced.graph.inserting_before(node):
            tensors = []
            for kind, tensor in folded.items():
                name = f"folded_{node.name}_{kind}"
                traced.register_buffer(name, tensor.float())
                tensors.append(traced.graph.get_attr(name))
            node.replace_all_uses_with(traced.graph.call_function(F.linear, (x, *tensors)))
    traced.graph.eliminate_dead_code()
    return traced
