"""Term "hidden": how far the hidden layers are from another network's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.training.loss import weighted_mean
from spark_ctr.training.losses.term import Outputs, Term


def match_layers(student_layers: int, teacher_layers: int) -> list[int]:
    """Pair student layer l = 1..L_s with teacher layer round(l * L_t / L_s).

    Returns
    -------
    list of int
        Teacher layers counted from 1, halves rounded up, none if either network has no layers.
    """
    if student_layers < 1 or teacher_layers < 1:
        return []
    return [
        max(1, math.floor(layer * teacher_layers / student_layers + 0.5))
        for layer in range(1, student_layers + 1)
    ]


def matched_layers(student: Network, teacher: Network) -> dict[str, str]:
    """Return the teacher's layer that each of the student's hidden layers follows."""
    names, followed = list(hidden_widths(student)), list(hidden_widths(teacher))
    matched = match_layers(len(names), len(followed))
    return {s: followed[m - 1] for s, m in zip(names, matched, strict=False)}


class HiddenDistance(Term):
    """Distance of hidden layers, linearly projected and layer-normalised, from a network's.

    decay * sum_l b_l mean (LN(W_l h^l) - LN(h_frozen^m(l)))^2

    The mean is weighted by row and runs over the units of the frozen network's layer, so that b_l
    means the same at every width. LN has no affine part. The maps W_l are trained along. `decay`
    falls from 1 in the first epoch by 1 / `decay_epochs` per epoch to 0.

    Parameters
    ----------
    network, frozen, weight
        As of every `Term`; only layer widths are read here.
    of : str
        Name of the frozen network.
    layer_weights : float or sequence of float
        b_l over the weight, one for all hidden layers or one each.
    decay_epochs : int
        Epochs until layers no longer count.
    seed : int
        Seed of the initial W_l.

    Raises
    ------
    ValueError
        If the number of `layer_weights` does not fit, or a setting is out of range.

    References
    ----------
    Romero et al., "FitNets", ICLR 2015.
    """

    reads_hidden = True

    def __init__(
        self,
        network: Network,
        frozen: Mapping[str, Network],
        weight: float = 1.0,
        *,
        of: str = "teacher",
        layer_weights: float | Sequence[float] = 1.0,
        decay_epochs: int,
        seed: int = 0,
    ) -> None:
        super().__init__(network, frozen, weight)
        if decay_epochs < 1:
            raise ValueError(f"decay_epochs must be >= 1, got {decay_epochs}")
        self.of = of
        self.decay_epochs = decay_epochs
        self.decay = 1.0
        widths, wanted = hidden_widths(network), hidden_widths(frozen[of])
        if isinstance(layer_weights, (int, float)):
            layer_weights = [layer_weights] * len(widths)
        if len(layer_weights) != len(widths) or min(layer_weights, default=0.0) < 0:
            raise ValueError(
                f"layer_weights must be one number >= 0 or one for each hidden layer "
                f"{list(widths)} of the network, got {layer_weights}"
            )
        self.matched = matched_layers(network, frozen[of])
        self.layer_weights = [weight * b for b in layer_weights]
        with RandomDraws(seed).drawing():
            self.projections = nn.ModuleList(
                nn.Linear(widths[own], wanted[other], bias=False)
                for own, other in self.matched.items()
            )

    def before_epoch(self, epoch: int) -> None:
        """Set the decay for this epoch (from 0)."""
        self.decay = max(0.0, 1.0 - epoch / self.decay_epochs)

    def forward(self, outputs: Outputs) -> Iterator[Tensor]:
        """Yield the distance of each layer."""
        if self.decay == 0.0:
            return
        _, wanted = outputs.of_frozen(self.of)
        parts = zip(self.projections, self.matched.items(), self.layer_weights, strict=False)
        for projection, (own, other), b in parts:
            gap = _layer_norm(projection(outputs.hidden[own])) - _layer_norm(wanted[other])
            yield self.decay * b * weighted_mean(gap.square().mean(1), outputs.batch.weight)


def hidden_widths(network: Network) -> dict[str, int]:
    """Read the widths of the perceptron's layers off an empty batch."""
    device = next(network.parameters()).device
    ids = torch.zeros(0, network.inputs.ids_width, dtype=torch.int32, device=device)
    numeric = torch.zeros(0, len(network.inputs.numeric), device=device)
    training = network.training
    network.eval()
    with torch.no_grad():
        _, hidden = network.hidden(ids, numeric)
    network.train(training)
    return {name: h.shape[1] for name, h in hidden.items() if name.startswith("hidden_")}


def _layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])
