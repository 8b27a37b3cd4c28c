"""Optimisers of embedding tables and of everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Optimizers:
    """Adam for embedding tables, AdamW for the rest, and the gradient's treatment before a step.

    Tables with sparse gradients take SparseAdam steps on the rows of the batch only.

    Parameters
    ----------
    network : Module
    extra : iterable of Parameter
        Parameters of the loss, trained along without weight decay.
    learning_rate : float
    weight_decay : float
        Decoupled decay (AdamW) of the matrices outside the tables; biases are exempt.
    embedding_l2 : float
        Factor of half the squared norm of the looked-up rows, each once per step.
    clip_norm : float, optional
        Largest norm of the whole gradient.
    """

    def __init__(
        self,
        network: nn.Module,
        extra: Iterable[nn.Parameter],
        learning_rate: float,
        weight_decay: float,
        embedding_l2: float,
        clip_norm: float | None,
    ) -> None:
        self._l2 = embedding_l2
        self._clip_norm = clip_norm
        sparse: list[Tensor] = []
        tables: list[Tensor] = []
        for module in network.modules():
            if isinstance(module, nn.Embedding) and module.weight.requires_grad:
                (sparse if module.sparse else tables).append(module.weight)
        self._tables = [*sparse, *tables]
        seen = {id(weight) for weight in self._tables}
        rest = [p for p in network.parameters() if p.requires_grad and id(p) not in seen]
        plain = [p for p in rest if p.ndim < 2] + [p for p in extra if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": plain, "weight_decay": 0.0},
            {"params": tables, "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
        self._all = [p for group in groups for p in group["params"]] + sparse
        self._optimizers: list[torch.optim.Optimizer] = []
        if groups:
            self._optimizers.append(torch.optim.AdamW(groups, lr=learning_rate, fused=True))
        if sparse:
            self._optimizers.append(torch.optim.SparseAdam(sparse, lr=learning_rate))
        self.learning_rate = learning_rate

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self._all:
            parameter.grad = None

    def step(self) -> None:
        """Add the table penalty, clip, and update all parameters."""
        for weight in self._tables:
            if weight.grad is not None:
                weight.grad = self._penalised(weight, weight.grad)
        if self._clip_norm is not None:
            self._clip(self._clip_norm)
        for optimizer in self._optimizers:
            optimizer.step()

    def decay(self, factor: float) -> None:
        """Multiply the learning rate."""
        self.learning_rate *= factor
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate

    def _penalised(self, weight: Tensor, grad: Tensor) -> Tensor:
        if grad.is_sparse:
            grad = grad.coalesce()
            if self._l2:
                rows = grad.indices()[0]
                grad.values().add_(weight.detach()[rows], alpha=self._l2)
        elif self._l2:
            looked_up = grad.ne(0).any(1, keepdim=True)
            grad.add_(weight.detach() * looked_up, alpha=self._l2)
        return grad

    def _clip(self, clip_norm: float) -> None:
        grads = [p.grad for p in self._all if p.grad is not None]
        values = [grad.values() if grad.is_sparse else grad for grad in grads]
        if not values:
            return
        norm = torch.linalg.vector_norm(
            torch.stack([torch.linalg.vector_norm(value) for value in values])
        )
        factor = (clip_norm / (norm + 1e-6)).clamp_max(1.0)
        for value in values:
            value.mul_(factor)
