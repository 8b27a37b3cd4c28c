"""Quantise a trained network: sensitivity, a plan, fine-tuning, and backing off where it hurts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.precision.qat import BINARY, INT8, prepare
from spark_ctr.precision.schedule import BINARY_SCHEDULE
from spark_ctr.precision.sensitivity import Sensitivity, choose_plan, measure_sensitivity
from spark_ctr.training.history import History
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.predictions import Feed, predict
from spark_ctr.training.recalibration import recalibrate_network
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.training_run import Change, TrainedNetwork, TrainingRun

_PREPARE = f"{prepare.__module__}:{prepare.__name__}"
# Rows that the steps of activations are fitted to.
_CALIBRATION_ROWS = 16_384


def quantisation(
    full: Network,
    *,
    logit_weight: float,
    regularisation_weight: float,
    prioritised_epochs: int,
    inverse_layerwise: bool,
    logit_shift: float = 0.0,
) -> Objective:
    """Return the objective of fine-tuning: labels, the full-precision logits and 1-bit layers.

    Parameters
    ----------
    full : Network
        The trained network, which is not changed.
    logit_weight : float
        Weight of the term "logits".
    regularisation_weight, prioritised_epochs, inverse_layerwise
        Of :class:`spark_ctr.precision.schedule.BinarySchedule`.
    logit_shift : float
        Of the term "click".
    """
    click = {"logit_shift": logit_shift, "by_member": False}
    schedule = {"prioritised_epochs": prioritised_epochs, "inverse_layerwise": inverse_layerwise}
    terms = (
        TermSettings("click", options=click),
        TermSettings("logits", logit_weight, {"of": "full"}),
        TermSettings(BINARY_SCHEDULE, regularisation_weight, schedule),
    )
    return Objective(terms, {"full": full})


@dataclass
class FineTuned:
    """A quantised network, how it was chosen and trained.

    Attributes
    ----------
    plan : dict of str to str
    sensitivity : Sensitivity
    trained : TrainedNetwork
        Of the last attempt; where rounding was enough, its history has no epochs and its feed no
        name.
    log : list of str
        A sentence for each attempt, and each layer that went back to 8 bits.
    figures : dict of str to dict
        "auc" and "log_loss" on the validation rows of the "full" and the "quantised" network.
    """

    plan: dict[str, str]
    sensitivity: Sensitivity
    trained: TrainedNetwork
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
    activations: bool,
    objective: Objective,
    run: Callable[[TrainingRun], TrainedNetwork],
) -> FineTuned:
    """Quantise ``network`` (left as it is), and fine-tune the copy if need be.

    There is need where layers are 1-bit, or where rounding to 8 bits loses more than is acceptable.

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
    activations : bool
        Of :func:`spark_ctr.precision.qat.prepare`.
    objective : Objective
        From :func:`quantisation`.
    run : callable
        Trains on the rows of both feeds, in this process or in others.

    Returns
    -------
    FineTuned
    """
    settings = tuning_settings(settings, epochs, learning_rate)
    # On rows that were trained on, scores are too good to be told how far to trust them.
    settings = replace(settings, recalibrate=settings.recalibrate and valid_feed is not train_feed)
    sensitivity = measure_sensitivity(network, valid_feed.batches(0))
    plan = choose_plan(sensitivity, binary_share)
    full = _figures(network, valid_feed)
    rows = calibration_rows(train_feed)
    log: list[str] = []

    def worse(reached: dict[str, float]) -> bool:
        # A validation set of one class has no AUC (nan), and of AUC nothing to back off from.
        lost = reached["auc"] < full["auc"] - tolerance
        return lost or reached["log_loss"] > full["log_loss"] * (1 + loss_tolerance)

    def tell(what: str, reached: dict[str, float]) -> None:
        log.append(
            f"1-bit layers {binary or 'none'}, {what}: validation AUC {reached['auc']:.4f}, full "
            f"precision {full['auc']:.4f}; log loss {reached['log_loss']:.4f}, "
            f"{full['log_loss']:.4f}"
        )

    while True:
        binary = [name for name, precision in plan.items() if precision == BINARY]
        rounded = prepare(network, plan, rows, activations=activations)
        history = History()
        if settings.recalibrate:
            history.recalibration = recalibrate_network(rounded, predict(rounded, valid_feed))
        best = TrainedNetwork(rounded, history.to_dict(), "")
        reached = _figures(rounded, valid_feed)
        tell("rounded", reached)
        # Nobody rounds to one bit without a loss.
        if binary or worse(reached):
            quantised = prepare(network, plan, rows, activations=activations)
            title = f"quantising, 1-bit layers: {len(binary)}"
            change = Change(_PREPARE, {"plan": plan, "activations": activations})
            trained = run(TrainingRun(quantised, objective, settings, title, change))
            after = _figures(trained.network, valid_feed)
            tell("trained", after)
            # Training moves 8-bit weights that were good already, and not always for the better.
            if binary or after["log_loss"] < reached["log_loss"]:
                best, reached = trained, after
        if not binary or not worse(reached):
            return FineTuned(plan, sensitivity, best, log, {"full": full, "quantised": reached})
        worst = max(binary, key=lambda name: sensitivity.increase[name])
        log.append(f"{worst} goes back to 8 bits")
        plan = {**plan, worst: INT8}


def tuning_settings(
    settings: TrainingSettings, epochs: int, learning_rate: float
) -> TrainingSettings:
    """Return the settings of fine-tuning for those of a network's own training."""
    return replace(
        settings,
        max_epochs=epochs,
        # Every epoch counts: binarisation is gradual, so early epochs must not end the run.
        patience=epochs,
        learning_rate=learning_rate,
        # bfloat16 has 8 bits, and would round the quantised weights once more.
        precision="float32",
        # The sign of an average is not what was trained.
        average_weights=False,
    )


def calibration_rows(feed: Feed) -> tuple[Tensor, Tensor]:
    """Return ids and numbers of a feed's first rows, `_CALIBRATION_ROWS` or a few more."""
    ids, numeric, rows = [], [], 0
    for batch in feed.batches(0):
        ids.append(batch.ids)
        numeric.append(batch.numeric)
        rows += len(batch.ids)
        if rows >= _CALIBRATION_ROWS:
            break
    return torch.cat(ids), torch.cat(numeric)


def _figures(network: Network, feed: Feed) -> dict[str, float]:
    rows = predict(network, feed).of_task()
    return {"auc": roc_auc(*rows), "log_loss": log_loss_of_logits(*rows)}
