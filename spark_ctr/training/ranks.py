"""What the processes of a distributed training exchange."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from spark_ctr.networks.layers.embedding import embedding_modules
from spark_ctr.training.row_gradients import coalesce_rows

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """The processes that train one network together; by default this one alone.

    All processes must call the same methods in the same order. Sums are the same bits on every
    process, so that processes which start from equal weights keep equal weights.

    Attributes
    ----------
    rank : int
        Number of this process, from 0.
    size : int
        Number of processes.
    device : torch.device
        Where exchanged tensors lie: the CPU for gloo, a GPU for NCCL.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU

    @classmethod
    def of_default_group(cls, device: torch.device) -> Ranks:
        """Return the processes of torch.distributed's default group."""
        return cls(dist.get_rank(), dist.get_world_size(), device)

    def total(self, values: Sequence[float]) -> list[float]:
        """Sum numbers over the processes, in float64."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return tensor.tolist()

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows [N, ...] of all processes in the order of their ranks."""
        if self.size == 1:
            return rows
        home, rows = rows.device, rows.to(self.device).contiguous()
        sizes = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(rows)], device=self.device))
        counts = [int(size) for size in sizes]
        # Collectives take equal shapes, so short parts are padded.
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([p[:n] for p, n in zip(parts, counts, strict=True)]).to(home)

    def sum_gradients(self, modules: Iterable[nn.Module]) -> None:
        """Replace the gradients of all parameters by their sums over the processes.

        Row-sparse gradients of embeddings are exchanged as rows, whatever the size of the table.
        """
        if self.size == 1:
            return
        sparse, dense = _parameters(modules)
        self._sum_dense(dense)
        for weight in sparse:
            grad = weight.grad
            if grad is None:
                rows, values = (
                    weight.new_zeros((1, 0)).long(),
                    weight.new_zeros((0, *weight.shape[1:])),
                )
                grad = torch.sparse_coo_tensor(rows, values, weight.shape, check_invariants=False)
            (grad,) = coalesce_rows([grad])
            indices = self.gather(grad.indices()[0])
            values = self.gather(grad.values())
            weight.grad = torch.sparse_coo_tensor(
                indices[None], values, weight.shape, check_invariants=False
            )

    def _sum_dense(self, parameters: list[Tensor]) -> None:
        # One message for all; a count each tells who has no gradient on any process.
        parts = [p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in parameters]
        present = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
        message = torch.cat([*(part.to(self.device) for part in parts), present.to(self.device)])
        dist.all_reduce(message)
        values, counts = message[: -len(parameters)], message[-len(parameters) :].tolist()
        ends = values.split([p.numel() for p in parameters])
        for parameter, value, count in zip(parameters, ends, counts, strict=True):
            if count:
                parameter.grad = value.view_as(parameter).to(parameter.device)


def _parameters(modules: Iterable[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Trained parameters with row-sparse gradients, and all others, in a fixed order."""
    modules = list(modules)
    sparse = {
        id(table.weight): table.weight
        for module in modules
        for table in embedding_modules(module)
        if table.sparse and table.weight.requires_grad
    }
    dense = {
        id(p): p
        for module in modules
        for p in module.parameters()
        if p.requires_grad and id(p) not in sparse
    }
    return list(sparse.values()), list(dense.values())
