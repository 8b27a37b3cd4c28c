"""Batch normalisation over the batch of all processes that train together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation that takes batches of any size, and those of several processes as one.

    The last batch of an epoch may hold a single row, which has no variance, or none: below two
    rows the running statistics serve and stay. Where torch.distributed is initialised, mean and
    variance in training are those of the rows of all processes, on CPUs too, which
    `torch.nn.SyncBatchNorm` is not made for. Running statistics are plain means until the momentum
    takes over: torch's begin at a variance of 1, which the first hundred steps do not forget where
    a layer's variance is 1e-8, as that of products of young embeddings is.

    References
    ----------
    Ioffe and Szegedy, "Batch Normalization", ICML 2015.
    """

    _young = True

    def reset_running_stats(self) -> None:
        """Begin running statistics afresh."""
        super().reset_running_stats()
        self._young = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [B, width]."""
        if not self.training:
            return self._by_running_statistics(x)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_processes(x)
        if x.shape[0] < 2:
            return self._by_running_statistics(x)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=True,
            momentum=self._share_of_this_batch(),
            eps=self.eps,
        )

    def _share_of_this_batch(self) -> float:
        """Count the batch; return its share of the running statistics."""
        batches = self.get_buffer("num_batches_tracked")
        batches.add_(1)
        momentum = self.momentum or 0.0
        if not self._young:
            return momentum
        # Read only while it matters, since reading waits for a GPU.
        share = 1 / int(batches)
        self._young = share > momentum
        return max(share, momentum)

    def _by_running_statistics(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _over_processes(self, x: Tensor) -> Tensor:
        count, mean, variance = _statistics(x.detach())
        if count < 2:
            return self._by_running_statistics(x)
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            share = self._share_of_this_batch()
            for name, new in (("running_mean", mean), ("running_var", unbiased)):
                running = self.get_buffer(name)
                running.lerp_(new.to(running.dtype), share)
        found = mean.to(self.weight.dtype), variance.to(self.weight.dtype)
        return _Normalised.apply(x, self.weight, self.bias, *found, count, self.eps)


@contextmanager
def running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of all layers in a module out of what it runs inside."""
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    before = [dict(layer.named_buffers()) for layer in layers]
    # Copies are written to: autograd may need what the statistics were before.
    for layer, buffers in zip(layers, before, strict=True):
        for name, value in buffers.items():
            setattr(layer, name, value.clone())
    try:
        yield
    finally:
        for layer, buffers in zip(layers, before, strict=True):
            for name, value in buffers.items():
                setattr(layer, name, value)


def _statistics(x: Tensor) -> tuple[float, Tensor, Tensor]:
    """Rows of all processes together, and their mean and variance [width] in float64."""
    rows, width = x.shape
    sums = x.new_zeros(2 * width + 1, dtype=torch.float64)
    if rows:
        # In float32 at least: of bfloat16 the kernel returns bfloat16.
        wide = x if x.dtype == torch.float64 else x.float()
        mean, variance = (t.double() for t in torch.batch_norm_update_stats(wide, None, None, 0.0))
        sums = rows * torch.cat([mean, variance + mean.square(), mean.new_ones(1)])
    dist.all_reduce(sums)
    count = float(sums[-1])
    mean, square = (sums[:-1] / max(count, 1.0)).split(width)
    # Never below 0: they are differences of rounded numbers.
    return count, mean, (square - mean.square()).clamp_min(0.0)


class _Normalised(torch.autograd.Function):
    """Normalisation by statistics that depend on the rows of all processes.

    The loss is one that all processes add up, and so are the gradients of weight and bias.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: float,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.count, ctx.eps = count, eps
        return F.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        # As if the statistics were given: the kernel of evaluation.
        of_x, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias]).double()
        dist.all_reduce(sums)
        # What they owe to x is linear in x, so that the kernel of normalisation gives it.
        scale = weight * torch.rsqrt(variance + ctx.eps)
        slope, offset = (sums / -ctx.count).to(weight.dtype) * scale
        of_x += F.batch_norm(x, mean, variance, slope, offset, eps=ctx.eps)
        return of_x, of_weight, of_bias, None, None, None, None
