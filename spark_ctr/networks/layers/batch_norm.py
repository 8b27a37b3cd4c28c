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
        # float64, since the variance is a difference of sums here.
        wide = x.double()
        rows = wide.new_tensor([x.shape[0]])
        sums = _Sum.apply(torch.cat([wide.sum(0), wide.square().sum(0), rows]))
        count = sums[-1].detach()
        if count < 2:
            return self._by_running_statistics(x)
        mean = sums[: self.num_features] / count
        variance = sums[self.num_features : -1] / count - mean.square()
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            share = self._share_of_this_batch()
            for name, new in (("running_mean", mean), ("running_var", unbiased)):
                running = self.get_buffer(name)
                running.lerp_(new.to(running.dtype), share)
        scale = torch.rsqrt(variance + self.eps).to(x.dtype)
        return (x - mean.to(x.dtype)) * scale * self.weight + self.bias


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


class _Sum(torch.autograd.Function):
    """Sum over all processes; so is its gradient, for a loss that all processes add up."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone()
        dist.all_reduce(grad)
        return grad
