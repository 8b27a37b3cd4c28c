"""Layer-wise distillation of a teacher network into a student."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spark_ctr.networks.network import Network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import weighted_bce, weighted_mean


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


class DistillationLoss(nn.Module):
    """Cross-entropy, squared difference of logits, and matched hidden layers.

    L = BCE(y, z_s) + a (z_s - sg z_t)^2
        + decay * sum_l b_l mean (LN(W_l h_s^l) - LN(sg h_t^m(l)))^2

    Means are weighted by row; the last one also runs over the units of the teacher's layer, so
    that b_l means the same at every width. LN has no affine part. `decay` falls from 1 in the first
    epoch by 1 / `decay_epochs` per epoch to 0. The maps W_l belong to the loss, not to the student:
    the trainer learns them along, and they go with the loss.

    Parameters
    ----------
    teacher : Network
        Put into evaluation mode and never trained.
    student : Network
        Network to train; only its layer widths are read here.
    logit_weight : float
        a.
    layer_weights : float or sequence of float
        b_l, one for all hidden layers of the student or one each.
    decay_epochs : int
        Epochs until layers no longer count.
    logit_shift : float
        Of `weighted_bce`, where rows were sampled by label. The logits of teacher and student are
        compared without it: both are those of all rows.
    seed : int
        Seed of the initial W_l.

    Raises
    ------
    ValueError
        If the two networks read different columns, the number of `layer_weights` does not fit, or
        a setting is out of range.

    References
    ----------
    Romero et al., "FitNets", ICLR 2015; Hinton et al., 2015.
    """

    def __init__(
        self,
        teacher: Network,
        student: Network,
        *,
        logit_weight: float = 1.0,
        layer_weights: float | Sequence[float] = 0.1,
        decay_epochs: int = 5,
        logit_shift: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if _columns(teacher) != _columns(student):
            raise ValueError(
                "teacher and student must read the same columns with the same ids: "
                f"{_columns(teacher)} and {_columns(student)}"
            )
        if logit_weight < 0 or decay_epochs < 1:
            raise ValueError(
                f"logit_weight must be >= 0 and decay_epochs >= 1, got {logit_weight} and "
                f"{decay_epochs}"
            )
        # In a tuple, the teacher's parameters are not the loss's, so they are not trained.
        self._teacher = (teacher.eval(),)
        self.logit_weight = logit_weight
        self.decay_epochs = decay_epochs
        self.logit_shift = logit_shift
        self.decay = 1.0
        student_widths, teacher_widths = _hidden_widths(student), _hidden_widths(teacher)
        self.student_layers = list(student_widths)
        names = list(teacher_widths)
        matched = match_layers(len(student_widths), len(names))
        self.teacher_layers = [names[m - 1] for m in matched]
        if isinstance(layer_weights, (int, float)):
            layer_weights = [float(layer_weights)] * len(self.student_layers)
        self.layer_weights = [float(b) for b in layer_weights]
        if (
            len(self.layer_weights) != len(self.student_layers)
            or min(self.layer_weights, default=0.0) < 0
        ):
            raise ValueError(
                f"layer_weights must be one number >= 0 or one for each hidden layer "
                f"{self.student_layers} of the student, got {self.layer_weights}"
            )
        with RandomDraws(seed).drawing():
            self.projections = nn.ModuleList(
                nn.Linear(student_widths[s], teacher_widths[t], bias=False)
                for s, t in zip(self.student_layers, self.teacher_layers, strict=False)
            )

    @property
    def matched(self) -> dict[str, str]:
        """The teacher's layer that each of the student's hidden layers follows."""
        return dict(zip(self.student_layers, self.teacher_layers, strict=False))

    def before_epoch(self, epoch: int) -> None:
        """Set the decay of the layer terms for this epoch (from 0)."""
        self.decay = max(0.0, 1.0 - epoch / self.decay_epochs)
        self._teacher[0].eval()

    def forward(self, network: Network, batch: Batch) -> Tensor:
        """Compute the loss of the student `network` on a batch: a scalar."""
        teacher = self._teacher[0]
        if next(teacher.parameters()).device != batch.label.device:
            teacher.to(batch.label.device)
        with torch.no_grad():
            teacher_logits, teacher_hidden = teacher.hidden(batch.ids, batch.numeric)
        logits, hidden = network.hidden(batch.ids, batch.numeric)
        loss = weighted_bce(logits, batch.label, batch.weight, self.logit_shift, batch.known)
        difference = (logits - teacher_logits).square()
        loss = loss + self.logit_weight * weighted_mean(difference, batch.weight)
        if self.decay == 0.0:
            return loss
        for projection, s, t, b in zip(
            self.projections,
            self.student_layers,
            self.teacher_layers,
            self.layer_weights,
            strict=False,
        ):
            gap = _layer_norm(projection(hidden[s])) - _layer_norm(teacher_hidden[t])
            loss = loss + self.decay * b * weighted_mean(gap.square().mean(1), batch.weight)
        return loss


def _layer_norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[1:])


def _columns(network: Network) -> tuple[list[dict[str, Any]], list[str]]:
    inputs = network.inputs
    return [table.ids_layout for table in inputs.tables], list(inputs.numeric)


def _hidden_widths(network: Network) -> dict[str, int]:
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
