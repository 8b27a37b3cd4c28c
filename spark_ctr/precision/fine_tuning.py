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
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
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
        loss = weighted_bce(logits, batch.label, batch.weight, self.logit_shift, batch.known)
        difference = (logits - wanted).square()
        loss = loss + self.logit_weight * weighted_mean(difference, batch.weight)
        return loss + self.schedule.regularisation().to(loss.device)


@dataclass
class FineTuned:
    """A quantised network, how it was chosen and trained.

    Attributes
    ----------
    network : Network
    plan : dict of str to str
    sensitivity : Sensitivity
    history : History
    log : list of str
        A sentence for each attempt, and each layer that went back to 8 bits.
    figures : dict of str to dict
        "auc" and "log_loss" on the validation rows of the "full" and the "quantised" network.
    """

    network: Network
    plan: dict[str, str]
    sensitivity: Sensitivity
    history: History
    log: list[str]
    figures: dict[str, dict[str, float]]


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
    loss_tolerance: float,
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
    tolerance, loss_tolerance : float
        Largest acceptable loss of validation AUC, and rise of validation log loss as a share of
        the full network's. A figure that does not exist is not watched.
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
        # On rows that were trained on, scores are too good to be told how far to trust them.
        recalibrate=settings.recalibrate and valid_feed is not train_feed,
    )
    sensitivity = measure_sensitivity(network, valid_feed.batches(0))
    plan = choose_plan(sensitivity, binary_share)
    full = _figures(network, valid_feed)
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
            progress=progress(f"quantising, 1-bit layers: {len(binary)}"),
        )
        reached = _figures(quantised, valid_feed)
        log.append(
            f"1-bit layers {binary or 'none'}: validation AUC {reached['auc']:.4f}, full precision "
            f"{full['auc']:.4f}; log loss {reached['log_loss']:.4f}, {full['log_loss']:.4f}"
        )
        # A validation set of one class has no AUC (nan), and of AUC nothing to back off from.
        worse = reached["auc"] < full["auc"] - tolerance
        worse |= reached["log_loss"] > full["log_loss"] * (1 + loss_tolerance)
        if not binary or not worse:
            figures = {"full": full, "quantised": reached}
            return FineTuned(quantised, plan, sensitivity, history, log, figures)
        worst = max(binary, key=lambda name: sensitivity.increase[name])
        log.append(f"{worst} goes back to 8 bits")
        plan = {**plan, worst: INT8}


def _figures(network: Network, feed: Feed) -> dict[str, float]:
    rows = predict(network, feed).of_task()
    return {"auc": roc_auc(*rows), "log_loss": log_loss_of_logits(*rows)}
