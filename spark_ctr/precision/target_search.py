"""Quantise within targets of time and bytes: measure all plans, train as few as needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from spark_ctr.networks.serialization import predictor_of
from spark_ctr.precision.attempts import Attempt, Attempts, binary_layers
from spark_ctr.precision.front import (
    Front,
    PlanPoint,
    Targets,
    candidate_plans,
    choose,
    order_of_training,
    pareto,
)
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.sensitivity import Sensitivity

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]
# From predictors by name, and ids and numbers of some rows, to microseconds a row.
Timer = Callable[[Mapping[str, Predictor], np.ndarray, np.ndarray], Mapping[str, float]]
_Timer = Callable[[Mapping[str, Predictor]], Mapping[str, float]]

_FULL = "full precision"


def within_targets(
    attempts: Attempts, sensitivity: Sensitivity, targets: Targets, timer: _Timer
) -> tuple[Attempt, Front]:
    """Quantise by the least lossy plan that meets the targets, or the nearest acceptable one.

    All candidate plans are rounded, packed and measured. They are trained in the order of
    `order_of_training` until one is acceptable, the plan of 8 bits only where rounding is not.
    Plans with more 1-bit layers than one that is not acceptable when trained are left out.

    Parameters
    ----------
    attempts : Attempts
    sensitivity : Sensitivity
    targets : Targets
    timer : callable
        From predictors by name to microseconds a row.

    Returns
    -------
    (Attempt, Front)
    """
    plans = {tuple(binary_layers(plan)): plan for plan in candidate_plans(sensitivity)}
    points, full = _measured(attempts, plans, timer)
    kept: Attempt | None = None
    fewest_failed = len(plans)
    for rounded in order_of_training(points, targets):
        count = len(rounded.binary)
        if count >= fewest_failed:
            continue
        if count == 0 and rounded.acceptable:
            break
        attempt = attempts.trained(plans[rounded.binary])
        size = pack_network(attempt.trained.network).nbytes
        # Training changes no operation of the program, so the time is that of the rounded one.
        point = _point(
            attempts, rounded.binary, attempt.figures, rounded.microseconds, size, trained=True
        )
        _tell(attempts, point)
        points.append(point)
        if choose(points, targets) is point:
            kept = attempt
        # Where training spoils what rounding did not, the rounded plan is still the nearest.
        if point.acceptable or rounded.acceptable:
            break
        fewest_failed = count
    points = pareto(points)
    chosen = choose(points, targets)
    front = Front(tuple(points), chosen, targets, full, attempts.loss_limit)
    attempts.log.append(front.reason())
    if chosen.trained:
        assert kept is not None
        return kept, front
    return attempts.rounded(plans[chosen.binary]), front


def _measured(
    attempts: Attempts, plans: Mapping[tuple[str, ...], dict[str, str]], timer: _Timer
) -> tuple[list[PlanPoint], dict[str, float]]:
    """Return the points of all plans, rounded, and what full precision reaches and takes."""
    reached, packed = {}, {}
    for binary, plan in plans.items():
        attempt = attempts.rounded(plan)
        # Of the attempt only figures stay: its network has full-precision weights beside.
        reached[binary] = attempt.figures
        packed[binary] = pack_network(attempt.trained.network)
    network = attempts.network
    training = network.training
    predictors = {str(len(binary)): model.predict_logits for binary, model in packed.items()}
    times = timer({_FULL: predictor_of(network.eval()), **predictors})
    network.train(training)
    points = []
    for binary, model in packed.items():
        time = times[str(len(binary))]
        points.append(_point(attempts, binary, reached[binary], time, model.nbytes, trained=False))
        _tell(attempts, points[-1])
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    return points, {**attempts.full, "microseconds_per_row": times[_FULL], "bytes": size}


def _point(
    attempts: Attempts,
    binary: tuple[str, ...],
    reached: Mapping[str, float],
    microseconds: float,
    nbytes: int,
    *,
    trained: bool,
) -> PlanPoint:
    acceptable = attempts.acceptable(reached)
    return PlanPoint(
        binary, reached["auc"], reached["log_loss"], microseconds, nbytes, trained, acceptable
    )


def _tell(attempts: Attempts, point: PlanPoint) -> None:
    reached = {"auc": point.auc, "log_loss": point.log_loss}
    how = "trained" if point.trained else "rounded"
    attempts.tell(point.binary, how, reached, f"; {point.costs()}")
