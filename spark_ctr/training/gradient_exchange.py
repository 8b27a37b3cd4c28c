"""Gradients of all processes, added up while the backward pass goes on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import embedding_modules
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.row_gradients import coalesce_rows
from spark_ctr.training.sharded_tables import ShardedEmbedding

# Numbers of a message: enough to make up for its start, few enough to be sent while others come.
_BUCKET = 1 << 18


class GradientExchange:
    """Replaces the gradients of all parameters by their sums over the processes.

    Dense ones are sent in buckets, the last layers' first, as soon as those of a bucket are there.
    Row-sparse ones of whole tables are exchanged as rows, whatever the size of the table; those of
    `ShardedTables` are where they belong already.

    Parameters
    ----------
    modules : iterable of Module
    ranks : Ranks
    """

    def __init__(self, modules: Iterable[nn.Module], ranks: Ranks) -> None:
        self._ranks = ranks
        self._buckets: list[_Bucket] = []
        self._rows: list[Tensor] = []
        self._handles: list[Any] = []
        if ranks.size == 1:
            return
        self._rows, dense = _parameters(modules)
        # Of its own, since on different processes other messages may come between two buckets.
        self._group = dist.new_group()
        for parameter in reversed(dense):
            if not self._buckets or self._buckets[-1].numbers >= _BUCKET:
                self._buckets.append(_Bucket())
            bucket = self._buckets[-1]
            bucket.parameters.append(parameter)
            # On a GPU the kernels of two groups could wait for each other.
            if ranks.device.type == "cpu":
                self._handles.append(
                    parameter.register_post_accumulate_grad_hook(lambda _, b=bucket: self._came(b))
                )
        self._sent = 0

    def close(self) -> None:
        """Let the parameters go."""
        for handle in self._handles:
            handle.remove()
        if self._ranks.size > 1:
            dist.destroy_process_group(self._group)

    def finish(self) -> None:
        """Wait for the sums, after the backward pass."""
        for bucket in self._buckets[self._sent :]:
            self._send(bucket)
        for bucket in self._buckets:
            bucket.take()
        self._sent = 0
        self._sum_rows()

    def _came(self, bucket: _Bucket) -> None:
        bucket.came += 1
        while self._sent < len(self._buckets) and self._buckets[self._sent].is_whole:
            self._send(self._buckets[self._sent])
            self._sent += 1

    def _send(self, bucket: _Bucket) -> None:
        parts = [
            p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten()
            for p in bucket.parameters
        ]
        # A count each tells who has no gradient on any process.
        present = parts[0].new_tensor([float(p.grad is not None) for p in bucket.parameters])
        bucket.message = torch.cat([*parts, present]).to(self._ranks.device)
        bucket.work = dist.all_reduce(bucket.message, group=self._group, async_op=True)

    def _sum_rows(self) -> None:
        for weight in self._rows:
            grad = weight.grad
            if grad is None:
                rows, values = (
                    weight.new_zeros((1, 0)).long(),
                    weight.new_zeros((0, *weight.shape[1:])),
                )
                grad = torch.sparse_coo_tensor(rows, values, weight.shape, check_invariants=False)
            (grad,) = coalesce_rows([grad])
            indices = self._ranks.gather(grad.indices()[0])
            values = self._ranks.gather(grad.values())
            weight.grad = torch.sparse_coo_tensor(
                indices[None], values, weight.shape, check_invariants=False
            )


@dataclass
class _Bucket:
    """Parameters whose gradients travel together, and how far those of a step have come."""

    parameters: list[Tensor] = field(default_factory=list)
    came: int = 0
    message: Tensor = field(default_factory=lambda: torch.empty(0))
    work: Any = None

    @property
    def numbers(self) -> int:
        return sum(p.numel() for p in self.parameters)

    @property
    def is_whole(self) -> bool:
        return self.came == len(self.parameters)

    def take(self) -> None:
        """Put the sums into the gradients."""
        self.work.wait()
        values, counts = self.message.split([self.numbers, len(self.parameters)])
        parts = values.split([p.numel() for p in self.parameters])
        for parameter, part, count in zip(self.parameters, parts, counts.tolist(), strict=True):
            if count:
                parameter.grad = part.view_as(parameter).to(parameter.device)
        self.came, self.work, self.message = 0, None, torch.empty(0)


def _parameters(modules: Iterable[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Trained parameters with row-sparse gradients, and all others, in a fixed order."""
    modules = list(modules)
    tables = [table for module in modules for table in embedding_modules(module)]
    sharded = {id(table.weight) for table in tables if isinstance(table, ShardedEmbedding)}
    sparse = {
        id(table.weight): table.weight
        for table in tables
        if table.sparse and table.weight.requires_grad and id(table.weight) not in sharded
    }
    dense = {
        id(p): p
        for module in modules
        for p in module.parameters()
        if p.requires_grad and id(p) not in sparse and id(p) not in sharded
    }
    return list(sparse.values()), list(dense.values())
