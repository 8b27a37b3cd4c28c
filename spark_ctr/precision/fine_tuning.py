"""Quantise a trained network: sensitivity, a plan, fine-tuning, and backing off where it hurts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.precision.attempts import Attempt, Attempts, binary_layers
from spark_ctr.precision.front import Front, Targets
from spark_ctr.precision.qat import INT8
from spark_ctr.precision.rare_rows import Ranges, coarse_count, rare_rows
from spark_ctr.precision.schedule import BINARY_SCHEDULE
from spark_ctr.precision.sensitivity import (
    Sensitivity,
    choose_plan,
    measure_sensitivity,
    plan_of,
)
from spark_ctr.precision.target_search import Timer, within_targets
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.predictions import Feed
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.training_run import TrainedNetwork, TrainingRun

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
    labels: TermSettings | None = None,
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
    labels : TermSettings, optional
        Term in the place of "click".
    """
    click = {"logit_shift": logit_shift, "by_member": False}
    schedule = {"prioritised_epochs": prioritised_epochs, "inverse_layerwise": inverse_layerwise}
    terms = (
        labels or TermSettings("click", options=click),
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
        Of the plan; where rounding was enough, its history has no epochs and its feed no name.
    log : list of str
        A sentence for each attempt, and each layer that went back to 8 bits.
    figures : dict of str to dict
        "auc" and "log_loss" on the validation rows of the "full" and the "quantised" network.
    coarse : dict of str to list
        Rows [first, last) that have 4 bits, for each block of the embedding layers.
    front : Front, optional
        All plans that were measured, where there are targets.
    warning : str
        What was asked for and not reached, and the way out; empty where nothing was missed.
    """

    plan: dict[str, str]
    sensitivity: Sensitivity
    trained: TrainedNetwork
    log: list[str]
    figures: dict[str, dict[str, float]]
    coarse: Ranges
    front: Front | None = None
    warning: str = ""


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
    coarse_share: float,
    objective: Objective,
    run: Callable[[TrainingRun], TrainedNetwork],
    targets: Targets | None = None,
    timer: Timer | None = None,
) -> FineTuned:
    """Quantise ``network`` (left as it is), and fine-tune the copy if need be.

    There is need where layers are 1-bit, or where rounding to 8 bits loses more than is acceptable.
    The 1-bit layers are a share, or with targets as many as these need.

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
        Share of hidden-to-hidden layers to make 1-bit; without targets.
    tolerance, loss_tolerance : float
        Largest acceptable loss of validation AUC, and rise of validation log loss as a share of
        the full network's. A figure that does not exist is not watched.
    activations : bool
        Of :func:`spark_ctr.precision.qat.prepare`.
    coarse_share : float
        Of :func:`spark_ctr.precision.rare_rows.rare_rows`; 0 for none. Rows of 4 bits that lose
        more than is acceptable get 8 again.
    objective : Objective
        From :func:`quantisation`.
    run : callable
        Trains on the rows of both feeds, in this process or in others.
    targets : Targets, optional
        See :func:`spark_ctr.precision.target_search.within_targets`.
    timer : callable, optional
        From predictors by name, ids and numbers to microseconds a row; needed with targets.

    Returns
    -------
    FineTuned

    Raises
    ------
    ValueError
        If there are no validation rows of positive weight, or targets without a timer.
    """
    if targets is not None and timer is None:
        raise ValueError("targets need a timer")
    settings = tuning_settings(settings, epochs, learning_rate)
    # On rows that were trained on, scores are too good to be told how far to trust them.
    settings = replace(settings, recalibrate=settings.recalibrate and valid_feed is not train_feed)
    sensitivity = measure_sensitivity(network, valid_feed.batches(0))
    attempts = Attempts(
        network=network,
        valid_feed=valid_feed,
        calibration=calibration_rows(train_feed),
        settings=settings,
        tolerance=tolerance,
        loss_tolerance=loss_tolerance,
        activations=activations,
        objective=objective,
        run=run,
    )
    if coarse_share > 0:
        _make_coarse(attempts, sensitivity, train_feed, coarse_share)
    front = None
    if targets is None or timer is None:
        best = _backed_off(attempts, sensitivity, binary_share)
    else:
        ids, numeric = (rows.numpy() for rows in calibration_rows(valid_feed))
        best, front = within_targets(
            attempts, sensitivity, targets, lambda models: timer(models, ids, numeric)
        )
    figures = {"full": attempts.full, "quantised": best.figures}
    warning = ""
    if front is not None and front.missed:
        warning = front.reason()
    elif front is None and not attempts.acceptable(best.figures):
        warning = (
            f"{attempts.compared(best.figures)}: that is more than tolerance and lossTolerance "
            "allow; raise these, or quantise another network"
        )
    return FineTuned(
        best.plan, sensitivity, best.trained, attempts.log, figures, attempts.coarse, front, warning
    )


def _make_coarse(
    attempts: Attempts, sensitivity: Sensitivity, train_feed: Feed, share: float
) -> None:
    """Give rare rows 4 bits where that loses no more than is acceptable."""
    coarse = rare_rows(attempts.network, (batch.ids for batch in train_feed.batches(0)), share)
    rows = coarse_count(coarse)
    if rows == 0:
        attempts.log.append(f"no rows of tables have at most {share:.3g} of the look-ups")
        return
    attempts.coarse = coarse
    reached = attempts.rounded(plan_of(sensitivity, ())).figures
    attempts.log.append(f"{rows:,} rows of tables in 4 bits: {attempts.compared(reached)}")
    if not attempts.acceptable(reached):
        attempts.log.append("rows of 4 bits go back to 8 bits")
        attempts.coarse = {}


def _backed_off(attempts: Attempts, sensitivity: Sensitivity, binary_share: float) -> Attempt:
    """Quantise by a share of 1-bit layers, less the most sensitive while they lose too much."""
    plan = choose_plan(sensitivity, binary_share)
    while True:
        binary = binary_layers(plan)
        best = attempts.rounded(plan)
        attempts.tell(binary, "rounded", best.figures)
        # Nobody rounds to one bit without a loss.
        if binary or not attempts.acceptable(best.figures):
            after = attempts.trained(plan)
            attempts.tell(binary, "trained", after.figures)
            # Training moves 8-bit weights that were good already, and not always for the better.
            if binary or after.figures["log_loss"] < best.figures["log_loss"]:
                best = after
        if not binary or attempts.acceptable(best.figures):
            return best
        worst = max(binary, key=lambda name: sensitivity.increase[name])
        attempts.log.append(f"{worst} goes back to 8 bits")
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
