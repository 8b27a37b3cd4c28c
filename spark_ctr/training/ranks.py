"""What the processes of a distributed training exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

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
        return self.start_total(values)()

    def start_total(self, values: Sequence[float]) -> Callable[[], list[float]]:
        """Return what waits for the sums of numbers, so that other work may come between."""
        if self.size == 1:
            return lambda: list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        work = dist.all_reduce(tensor, async_op=True)

        def found() -> list[float]:
            work.wait()
            return tensor.tolist()

        return found

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

    def deal(
        self, rows: Tensor, sizes: Sequence[int], into: Tensor, into_sizes: Sequence[int]
    ) -> None:
        """Send each process so many rows [N, ...] in turn, and take those of each in turn."""
        dist.all_to_all_single(into, rows.contiguous(), list(into_sizes), list(sizes))

    def told(self, rows: Tensor, into: Tensor, by: int) -> Tensor:
        """Return what one process has as rows; the others have room for it."""
        rows = rows.contiguous() if by == self.rank else into
        dist.broadcast(rows, by)
        return rows
