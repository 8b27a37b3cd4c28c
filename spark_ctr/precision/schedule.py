"""The training methods of SensiMix for 1-bit layers: ABWR, PT and ILF."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spark_ctr.precision.binary import BinaryLinear, absolute_binary_weight_regularisation


class BinarySchedule:
    """Which 1-bit layers train on binary weights in which epoch, and their regularisation.

    Parameters
    ----------
    network : nn.Module
        A network from `spark_ctr.precision.qat.prepare`.
    regularisation_weight : float
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
        *,
        regularisation_weight: float = 1.0,
        prioritised_epochs: int = 1,
        inverse_layerwise: bool = True,
    ) -> None:
        if regularisation_weight < 0 or prioritised_epochs < 0:
            raise ValueError(
                "regularisation_weight and prioritised_epochs must not be negative, got "
                f"{regularisation_weight} and {prioritised_epochs}"
            )
        self.layers = [layer for layer in network.modules() if isinstance(layer, BinaryLinear)]
        self.regularisation_weight = regularisation_weight
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

    def regularisation(self) -> Tensor:
        """Return the term to add to the loss: weight times the sum of ABWR over 1-bit layers."""
        terms = [absolute_binary_weight_regularisation(layer.weight) for layer in self.layers]
        if not terms or self.regularisation_weight == 0:
            return torch.zeros(())
        return self.regularisation_weight * torch.stack(terms).sum()
