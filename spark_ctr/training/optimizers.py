"""Optimisers of embedding tables and of everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import embedding_modules
from spark_ctr.training.adamw import AdamW
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.row_gradients import coalesce_rows
from spark_ctr.training.rowwise import OPTIMIZERS
from spark_ctr.training.sharded_tables import ShardedEmbedding

_LEARNING_RATE, _STEPS = "learning_rate", "steps"


class Optimizers:
    """A row-wise optimiser for embedding tables, AdamW for the rest, and what precedes a step.

    A step costs what the rows of the batch cost, not what the tables hold.

    Parameters
    ----------
    network : Module
    extra : iterable of Parameter
        Parameters of the loss, trained along without weight decay.
    learning_rate : float
    weight_decay : float
        Decoupled decay (AdamW) of the matrices outside the tables; biases are exempt.
    embedding_l2 : float
        L2 penalty of the tables' rows, see `training.rowwise`. Rows without gradient, as those
        that padding reads, do not count as looked up.
    clip_norm : float, optional
        Largest norm of the whole gradient.
    optimizer : {"adam", "adagrad"}
        Of the tables, see `training.rowwise`.
    moved : callable, optional
        Told how table rows move, see `training.rowwise`.
    ranks : Ranks, optional
        Those over which tables of the network are spread.
    """

    def __init__(
        self,
        network: nn.Module,
        extra: Iterable[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        embedding_l2: float,
        clip_norm: float | None,
        optimizer: str = "adam",
        moved: Callable[[str, Tensor, Tensor], None] | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self._clip_norm = clip_norm
        self._ranks = ranks or Ranks()
        modules = embedding_modules(network)
        tables = {id(table.weight) for table in modules}
        self._sharded = {id(t.weight) for t in modules if isinstance(t, ShardedEmbedding)}
        named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self._tables = {name: p for name, p in named.items() if id(p) in tables}
        rest = {name: p for name, p in named.items() if id(p) not in tables}
        losses = {f"loss.{i}": p for i, p in enumerate(extra) if p.requires_grad}
        self._rest = {**rest, **losses}
        matrices = [p for p in rest.values() if p.ndim >= 2]
        vectors = [p for p in rest.values() if p.ndim < 2] + list(losses.values())
        self._adamw = AdamW([(matrices, weight_decay), (vectors, 0.0)])
        self._rowwise = OPTIMIZERS[optimizer](self._tables, embedding_l2, moved)
        self.learning_rate = learning_rate

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in (*self._tables.values(), *self._rest.values()):
            parameter.grad = None

    def step(self) -> None:
        """Clip, and update all parameters.

        Tables' gradients may be dense or sparse COO, coalesced or not; afterwards they are
        coalesced.
        """
        tables = [weight for weight in self._tables.values() if weight.grad is not None]
        grads = coalesce_rows([weight.grad for weight in tables if weight.grad is not None])
        for weight, grad in zip(tables, grads, strict=True):
            weight.grad = grad
        if self._clip_norm is not None:
            self._clip(self._clip_norm)
        self._adamw.step(self.learning_rate)
        self._rowwise.step(self.learning_rate)

    def set_learning_rate(self, value: float) -> None:
        """Take steps with this learning rate from now on."""
        self.learning_rate = value

    def state_dict(self) -> dict[str, Tensor]:
        """Return the learning rate, the steps and the moments, ``PARAMETER:MOMENT`` each.

        Parameters that took no step yet are left out. The tensors share memory with the state:
        write or clone them before the next step.
        """
        state = {
            _LEARNING_RATE: torch.tensor(self.learning_rate, dtype=torch.float64),
            _STEPS: torch.tensor(self._rowwise.steps),
        }
        for name, parameter in self._rest.items():
            for key, value in self._adamw.state.get(parameter, {}).items():
                state[f"{name}:{key}"] = value
        for name, moments in self._rowwise.state.items():
            state |= {f"{name}:{key}": value for key, value in moments.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what `state_dict` returned; the tensors are copied.

        Raises
        ------
        ValueError
            If the state is of another network or another optimiser.
        """
        found: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key not in (_LEARNING_RATE, _STEPS):
                name, _, moment = key.rpartition(":")
                found.setdefault(name, {})[moment] = value
        known = self._tables | self._rest
        unknown = sorted(set(found) - set(known))
        if unknown or not {_LEARNING_RATE, _STEPS} <= set(state):
            raise ValueError(
                f"the optimiser's state is of another network: it has {unknown}, "
                f"parameters are {sorted(known)}"
            )
        for name, moments in found.items():
            parameter = known[name]
            is_table = name in self._tables
            optimizer = self._rowwise if is_table else self._adamw
            expected = optimizer.initial_state(parameter)
            shapes = {key: tuple(value.shape) for key, value in moments.items()}
            wanted = {key: tuple(value.shape) for key, value in expected.items()}
            if shapes != wanted:
                raise ValueError(f"the state of '{name}' must hold {wanted}, got {shapes}")
            for key, value in moments.items():
                expected[key].copy_(value)
            if is_table:
                self._rowwise.state[name] = expected
            else:
                self._adamw.state[parameter] = expected
        self._rowwise.steps = int(state[_STEPS])
        self.set_learning_rate(float(state[_LEARNING_RATE]))

    def _clip(self, clip_norm: float) -> None:
        parameters = (*self._tables.values(), *self._rest.values())
        whole: list[Tensor] = []
        spread: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is not None:
                grad = parameter.grad.values() if parameter.grad.is_sparse else parameter.grad
                (spread if id(parameter) in self._sharded else whole).append(grad)
        norms = [torch.linalg.vector_norm(value) for value in whole]
        if spread:
            own = float(torch.stack([value.square().sum() for value in spread]).sum())
            norms.append(spread[0].new_tensor(math.sqrt(self._ranks.total([own])[0])))
        if not norms:
            return
        norm = torch.linalg.vector_norm(torch.stack(norms))
        factor = (clip_norm / (norm + 1e-6)).clamp_max(1.0)
        for value in whole + spread:
            value.mul_(factor)
