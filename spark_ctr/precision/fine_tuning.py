"""Quantise a trained network: sensitivity, a plan, fine-tuning, and backing off where it hurts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from spark_ctr.networks.network import Network
from spark_ctr.precision.qat import BINARY, INT8, prepare
from spark_ctr.precision.schedule import BinarySchedule
from spark_ctr.precision.sensitivity import Sensitivity, choose_plan, measure_sensitivity
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.history import History
from spark_ctr.training.loss import weighted_bce, weighted_mean
from spark_ctr.training.metrics import roc_auc
from spark_ctr.training.predictions import Feed, predict
from spark_ctr.training.progress import Progress
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train


class QuantizationLoss(nn.Module):
    """Cross-entropy, squared difference from the full-precision logits, and ABWR.

    Parameters
    ----------
    full, quantised : Network
        The trained network, which is not changed, and its copy with quantised layers.
    logit_weight : float
    schedule : BinarySchedule
    logit_shift : float
        Of `weighted_bce`, where rows were sampled by label.
    """

    def __init__(
        self,
        full: Network,
        schedule: BinarySchedule,
        logit_weight: float,
        logit_shift: float = 0.0,
    ) -> None:
        super().__init__()
        # In a tuple, so that the full-precision weights are not trained along.
        self._full = (full.eval(),)
        self.schedule = schedule
        self.logit_weight = logit_weight
        self.logit_shift = logit_shift

    @classmethod
    def factory(
        cls, *, logit_weight: float, logit_shift: float = 0.0, **schedule: Any
    ) -> Callable[[Network, Network], QuantizationLoss]:
        """Return a function that makes the loss for a full and a quantised network."""
        return lambda full, quantised: cls(
            full, BinarySchedule(quantised, **schedule), logit_weight, logit_shift
        )

    def before_epoch(self, epoch: int) -> None:
        """Set what is binary in this epoch (from 0)."""
        self.schedule.before_epoch(epoch)

    def forward(self, network: Network, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch."""
        full = self._full[0].to(batch.label.device)
        with torch.no_grad():
            wanted = full(batch.ids, batch.numeric)
        logits = network(batch.ids, batch.numeric)
        loss = weighted_bce(logits, batch.label, batch.weight, self.logit_shift)
        difference = (logits - wanted).square()
        loss = loss + self.logit_weight * weighted_mean(difference, batch.weight)
        return loss + self.schedule.regularisation().to(loss.device)


@dataclass
class FineTuned:
    """A quantised network, how it was chosen and trained."""

    network: Network
    plan: dict[str, str]
    sensitivity: Sensitivity
    history: History
    log: list[str]


def fine_tune(
    network: Network,
    train_feed: Feed,
    valid_feed: Feed,
    *,
    settings: TrainingSettings,
    epochs: int,
    learning_rate: float,
    binary_share: float,
    tolerance: float,
    loss: Callable[[Network, Network], QuantizationLoss],
    progress: Callable[[str], Progress],
) -> FineTuned:
    """Quantise ``network`` (left as it is) and fine-tune the copy.

    Parameters
    ----------
    network : Network
        Trained, full precision.
    train_feed, valid_feed : Feed
    settings : TrainingSettings
        Of the network's own training; epochs and learning rate are replaced.
    epochs, learning_rate
        Of fine-tuning.
    binary_share : float
        Share of hidden-to-hidden layers to make 1-bit.
    tolerance : float
        Largest acceptable loss of validation AUC.
    loss : callable
        From :meth:`QuantizationLoss.factory`.
    progress : callable
        From a title to a progress display.

    Returns
    -------
    FineTuned
    """
    # Every epoch counts: binarisation is gradual, so early epochs must not end the run.
    # bfloat16 has 8 bits, and would round the quantised weights once more.
    settings = replace(
        settings,
        max_epochs=epochs,
        patience=epochs,
        learning_rate=learning_rate,
        precision="float32",
        # The sign of an average is not what was trained.
        average_weights=False,
    )
    sensitivity = measure_sensitivity(network, valid_feed.batches(0))
    plan = choose_plan(sensitivity, binary_share)
    wanted = _auc(network, valid_feed) - tolerance
    first = next(iter(train_feed.batches(0)))
    log: list[str] = []
    while True:
        quantised = prepare(network, plan, (first.ids, first.numeric))
        objective = loss(network, quantised)
        binary = [name for name, precision in plan.items() if precision == BINARY]
        history = train(
            quantised,
            train_feed,
            valid_feed,
            settings,
            loss=objective,
            progress=progress(f"quantising, {len(binary)} layers 1-bit"),
        )
        reached = _auc(quantised, valid_feed)
        log.append(
            f"1-bit layers {binary or 'none'}: validation AUC {reached:.4f}, "
            f"full precision {wanted + tolerance:.4f}"
        )
        # A validation set of one class has no AUC (nan), and nothing to back off from.
        if not binary or not reached < wanted:
            return FineTuned(quantised, plan, sensitivity, history, log)
        worst = max(binary, key=lambda name: sensitivity.increase[name])
        log.append(f"{worst} goes back to 8 bits")
        plan = {**plan, worst: INT8}


def _auc(network: Network, feed: Feed) -> float:
    found = predict(network, feed)
    return roc_auc(found.label, found.logit, found.weight)
