"""The training methods of SensiMix for 1-bit layers, as a term of the loss: ABWR, PT and ILF."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.precision.binary import BinaryLinear, absolute_binary_weight_regularisation
from spark_ctr.precision.settings import OBJECTIVE
from spark_ctr.training.losses.term import Outputs, Term

# The name of the term in an objective.
BINARY_SCHEDULE = f"{__name__}:BinarySchedule"


class BinarySchedule(Term):
    """Which 1-bit layers train on binary weights in which epoch, and their regularisation.

    Parameters
    ----------
    network : nn.Module
        A network from `spark_ctr.precision.qat.prepare`.
    frozen
        As of every `Term`.
    weight : float
        Weight of absolute binary weight regularisation (ABWR); 0 turns it off.
    prioritised_epochs : int
        Prioritised training (PT): epochs at the start in which the latent FP32 weights are used
        (inputs are signs already); 0 turns it off.
    inverse_layerwise : bool
        Inverse layer-wise fine-tuning (ILF): after PT one more layer an epoch becomes binary,
        the last layer first; otherwise all at once.

    Raises
    ------
    ValueError
        If a number is negative.

    Notes
    -----
    Evaluation always uses binary weights, so the validation loss of any epoch is that of the
    quantised model and the best epoch can be chosen among all of them.
    """

    def __init__(
        self,
        network: nn.Module,
        frozen: Mapping[str, Network] | None = None,
        weight: float = 1.0,
        *,
        prioritised_epochs: int = OBJECTIVE["prioritised_epochs"].default,
        inverse_layerwise: bool = OBJECTIVE["inverse_layerwise"].default,
    ) -> None:
        super().__init__(network, frozen or {}, weight)
        if prioritised_epochs < 0:
            raise ValueError(f"prioritised_epochs must not be negative, got {prioritised_epochs}")
        # In a list, the layers are the network's and not the loss's.
        self.layers = [layer for layer in network.modules() if isinstance(layer, BinaryLinear)]
        self.prioritised_epochs = prioritised_epochs
        self.inverse_layerwise = inverse_layerwise

    @property
    def first_binary_epoch(self) -> int:
        """First epoch (from 0) that trains with every 1-bit layer on binary weights."""
        if not self.layers:
            return 0
        waits = len(self.layers) - 1 if self.inverse_layerwise else 0
        return self.prioritised_epochs + waits

    def before_epoch(self, epoch: int) -> None:
        """Set which layers use binary weights in `epoch`, counted from 0."""
        count = 0
        if epoch >= self.prioritised_epochs:
            past = epoch - self.prioritised_epochs + 1
            count = past if self.inverse_layerwise else len(self.layers)
        for from_last, layer in enumerate(reversed(self.layers)):
            layer.weight_is_binary = from_last < count

    def forward(self, outputs: Outputs) -> Iterable[Tensor]:
        """Return the regularisation, on which the batch has no say."""
        return [self.regularisation()]

    def regularisation(self) -> Tensor:
        """Return the weight times the sum of ABWR over 1-bit layers."""
        terms = [absolute_binary_weight_regularisation(layer.weight) for layer in self.layers]
        return self.weight * torch.stack(terms).sum() if terms and self.weight else torch.zeros(())
