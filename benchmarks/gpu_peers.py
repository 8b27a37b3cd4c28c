"""The network of `benchmarks.student_programs` by torch, on one device; and turns of systems."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.frame import Record
from benchmarks.student_programs import Weights

ROUNDS = 7
# What runs, and what waits until it is done.
System = tuple[Callable[[], object], Callable[[], object]]


def times(
    case: str, systems: Mapping[str, System], rows: int, calls: int, seed: int
) -> Iterator[Record]:
    """Yield the time of a call and of a row of each system; they take turns.

    Parameters
    ----------
    case : str
    systems : mapping of str to (run, wait)
    rows : int
        Of a call.
    calls : int
        Of a turn.
    seed : int
    """
    taken: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(-1, ROUNDS):
        for name, (call, wait) in systems.items():
            call()
            wait()
            began = time.perf_counter()
            for _ in range(calls):
                call()
            wait()
            if turn >= 0:
                taken[name].append((time.perf_counter() - began) / calls)
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        yield Record(case, name, "time", 1e3 * middle, "ms", seed)
        yield Record(case, name, "speed", rows / middle / 1e6, "million rows/s", seed)


def waiting(device: torch.device) -> Callable[[], None]:
    """Return what waits for a device of torch."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def float_network(
    weights: Weights, device: torch.device, kind: torch.dtype
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the network in a floating-point type; ids are rows of the stacked table, int64."""
    table = torch.from_numpy(weights.float_table).to(device, kind)
    layers = [tuple(torch.from_numpy(part).to(device, kind) for part in w) for w in weights.layers]
    wide = weights.shape.columns * weights.shape.dim

    def score(ids: Tensor, numeric: Tensor) -> Tensor:
        x = torch.cat([table[ids].view(len(ids), wide), numeric.to(kind)], 1)
        for i, (weight, bias) in enumerate(layers):
            x = F.linear(x, weight, bias)
            if i < len(layers) - 1:
                x = torch.relu(x)
        return x.float()

    return score


def int8_network(weights: Weights, device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the network with 8-bit tables, inputs and hidden layers, by `torch._int_mm`.

    Its last layer, of one output, is float16; the steps of the inputs are one for each layer.
    """
    table = torch.from_numpy(weights.table).to(device)
    wide, step = weights.shape.columns * weights.shape.dim, 1 / 32
    hidden = []
    for weight, bias in weights.layers[:-1]:
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        index = np.rint(weight / scale).astype(np.int8)
        # The product wants multiples of 8.
        index = np.pad(index, ((0, 0), (0, -index.shape[1] % 8)))
        columns = torch.from_numpy(index).to(device).t()
        factor = torch.from_numpy((scale[:, 0] * step).astype(np.float32)).to(device)
        hidden.append((columns, factor, torch.from_numpy(bias).to(device)))
    last = [torch.from_numpy(part).to(device, torch.float16) for part in weights.layers[-1]]

    def levels(x: Tensor) -> Tensor:
        return torch.clamp(torch.round(x / step), -128, 127).to(torch.int8)

    def score(ids: Tensor, numeric: Tensor) -> Tensor:
        x = torch.cat([table[ids].view(len(ids), wide), levels(numeric)], 1)
        for columns, factor, bias in hidden:
            x = F.pad(x, (0, columns.shape[0] - x.shape[1]))
            y = torch.relu(torch._int_mm(x, columns).float() * factor + bias)
            x = levels(y)
        return F.linear(y.half(), *last).float()

    return score
