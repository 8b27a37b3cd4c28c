"""Running statistics of batch normalisation for weights that no batch was trained with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from spark_ctr.networks.network import Network
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.predictions import Feed

RECENT = 10


class BatchStatistics:
    """Statistics of averaged weights, from the last batches of an epoch.

    The running statistics of training belong to the weights of training. An average of them is not
    what averaged weights yield where layers multiply, as FiBiNET's products of embeddings.

    Dropout is on: a layer behind it was trained on inputs that vary more than those of inference.
    Divided by their smaller deviation, scores would lie further apart than those that were trained:
    with 145 clicks in 64,000 rows (`benchmarks.recalibration`) a network that promised 1.1 times
    the clicks of its training rows in training promised 1.5 times as many afterwards.

    Parameters
    ----------
    network : Network

    References
    ----------
    Izmailov et al., "Averaging weights leads to wider optima", UAI 2018, section 3.2; Wu and
    Johnson, "Rethinking 'batch' in BatchNorm", 2021, for few batches being enough; Li et al.,
    "Understanding the disharmony between dropout and batch normalization by variance shift", CVPR
    2019.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._layers = [
            layer
            for layer in network.modules()
            if isinstance(layer, _BatchNorm) and layer.track_running_stats
        ]
        self._recent: deque[Batch] = deque(maxlen=RECENT)

    def batches(self, feed: Feed, epoch: int, start: int) -> Iterator[Batch]:
        """Yield the batches of an epoch of `feed` but for the first `start`, and keep the last ten.

        Those before `start` are read again, so that a resumed epoch ends with the same ten.
        """
        before = min(start, RECENT) if self._layers else 0
        self._recent.clear()
        for i, batch in enumerate(feed.batches(epoch, start - before)):
            if self._layers:
                self._recent.append(batch)
            if i >= before:
                yield batch

    @contextmanager
    def estimated(self) -> Iterator[None]:
        """Have plain means over the kept batches as statistics inside the context.

        All processes that train together must enter it together.
        """
        before = [{k: v.clone() for k, v in layer.named_buffers()} for layer in self._layers]
        if self._layers:
            self._estimate(before)
        try:
            yield
        finally:
            for layer, buffers in zip(self._layers, before, strict=True):
                _put_back(layer, buffers)

    @torch.no_grad()
    def _estimate(self, before: list[dict[str, Tensor]]) -> None:
        device = next(self._network.parameters()).device
        momenta = [layer.momentum for layer in self._layers]
        training = self._network.training
        self._network.eval()
        for module in self._network.modules():
            if isinstance(module, _DropoutNd):
                module.train()
        for layer in self._layers:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        for batch in self._recent:
            self._network(batch.ids.to(device), batch.numeric.to(device))
        for layer, buffers, momentum in zip(self._layers, before, momenta, strict=True):
            layer.momentum = momentum
            if not int(layer.get_buffer("num_batches_tracked")):
                # No batch had two rows.
                _put_back(layer, buffers)
        self._network.train(training)


def _put_back(layer: nn.Module, buffers: dict[str, Tensor]) -> None:
    for name, value in buffers.items():
        layer.get_buffer(name).copy_(value)
