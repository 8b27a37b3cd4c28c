"""Average of a network's weights over the last steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import embedding_modules

# With 4 a step's weight falls with the fourth power of its place among the steps so far: half of
# the average comes of the last seventh of them.
ETA = 4


class WeightAverage:
    """Polynomial-decay average of the weights after each step.

    The average after step t is a(t) = (1 - s) a(t-1) + s w(t) with s = (eta + 1) / (t + eta). It
    forgets the start at any length of training, so there is no decay rate to choose. Of tables it
    costs what the rows of the batch cost: with f(t) = t (t+1) ... (t+eta), whose ratio
    f(t-1) / f(t) is 1 - s, a(t) = w(t) - sum(f(i-1) (w(i) - w(i-1))) / f(t), and a row that does
    not move adds nothing to the sum.

    Parameters
    ----------
    network : Module
        As it is before the first step.
    planned_steps : int
        Most steps, to keep the sums in the range of float32.

    References
    ----------
    Shamir and Zhang, "Stochastic gradient descent for non-smooth optimization", ICML 2013,
    equation 4; Polyak and Juditsky, 1992, for why averages of iterates have less noise.
    """

    def __init__(self, network: nn.Module, planned_steps: int) -> None:
        tables = {id(table.weight) for table in embedding_modules(network)}
        self._tables: dict[str, Tensor] = {}
        self._dense: dict[str, Tensor] = {}
        for name, value in network.named_parameters():
            (self._tables if id(value) in tables else self._dense)[name] = value
        self._average = {name: value.detach().clone() for name, value in self._dense.items()}
        self._sums = {name: torch.zeros_like(value) for name, value in self._tables.items()}
        self._scale = _rising(max(planned_steps, 1))
        self.steps = 0

    @torch.no_grad()
    def moved(self, name: str, rows: Tensor, change: Tensor) -> None:
        """Take note, during a step, that rows [n] of a table moved by `change` [n, dim]."""
        sums = self._sums[name]
        factor = _rising(self.steps) / self._scale
        if factor:
            sums.index_copy_(0, rows, sums.index_select(0, rows).add_(change, alpha=factor))

    @torch.no_grad()
    def end_step(self) -> None:
        """Take the weights after a step into the average."""
        self.steps += 1
        share = (ETA + 1) / (self.steps + ETA)
        for name, average in self._average.items():
            average.lerp_(self._dense[name].detach(), share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Have the network hold the average, after a step at least, inside the context."""
        trained = {name: value.data for name, value in (self._tables | self._dense).items()}
        factor = self._scale / _rising(self.steps)
        for name, value in self._dense.items():
            value.data = self._average[name]
        for name, value in self._tables.items():
            value.data = value.detach().sub(self._sums[name], alpha=factor)
        try:
            yield
        finally:
            for name, value in (self._tables | self._dense).items():
                value.data = trained[name]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums and averages by parameter; they share memory with the state."""
        return {**self._average, **self._sums, "steps": torch.tensor(self.steps)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned; the tensors are copied."""
        for name, value in (self._average | self._sums).items():
            value.copy_(state[name])
        self.steps = int(state["steps"])


def _rising(t: int) -> float:
    """Rising factorial t (t + 1) ... (t + ETA)."""
    product = 1.0
    for k in range(ETA + 1):
        product *= t + k
    return product
