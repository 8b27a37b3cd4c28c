"""Plans of quantisation by loss, time and bytes: their Pareto front, and the one to take."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spark_ctr.precision.sensitivity import Sensitivity, least_sensitive_first, plan_of


@dataclass(frozen=True)
class PlanPoint:
    """What a plan reaches on the validation rows, and what it takes.

    Attributes
    ----------
    binary : tuple of str
        Its 1-bit layers, in module order.
    auc : float
        nan for validation rows of one class.
    log_loss : float
        Nats.
    microseconds : float
        To score a row with the packed weights.
    nbytes : int
        Of the packed weights.
    trained : bool
        Whether it was fine-tuned, or only rounded.
    acceptable : bool
        Whether AUC and log loss are within the tolerances.
    on_front : bool
        Whether no other plan is better in one of log loss, time and bytes, and as good in the rest.
    """

    binary: tuple[str, ...]
    auc: float
    log_loss: float
    microseconds: float
    nbytes: int
    trained: bool
    acceptable: bool
    on_front: bool = False

    def dominates(self, other: PlanPoint) -> bool:
        """Return whether this is as good in log loss, time and bytes, and better in one."""
        ours, theirs = self._costs(), other._costs()
        return ours != theirs and all(a <= b for a, b in zip(ours, theirs, strict=True))

    def _costs(self) -> tuple[float, float, int]:
        return self.log_loss, self.microseconds, self.nbytes

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form, nan as None."""
        return {
            "binary": list(self.binary),
            "auc": None if math.isnan(self.auc) else self.auc,
            "log_loss": self.log_loss,
            "microseconds_per_row": self.microseconds,
            "bytes": self.nbytes,
            "trained": self.trained,
            "acceptable": self.acceptable,
            "front": self.on_front,
        }

    def __str__(self) -> str:
        how = "trained" if self.trained else "rounded"
        return f"1-bit layers {list(self.binary) or 'none'}, {how}"

    def costs(self) -> str:
        """Return time and bytes in words."""
        return f"{self.microseconds:.3g} µs a row, {self.nbytes:,} bytes"


@dataclass(frozen=True)
class Targets:
    """What a plan may take at most; None for no limit.

    Attributes
    ----------
    microseconds : float, optional
        Param ``targetLatency``.
    nbytes : int, optional
        Param ``maxBytes``.
    """

    microseconds: float | None = None
    nbytes: int | None = None

    def excess(self, point: PlanPoint) -> float:
        """Return the largest share by which a point is above a target; 0 where it meets all.

        In whole percents, upwards: less is noise of the clock, and worth no further 1-bit layer.
        """
        shares = [found / most - 1 for _, found, most, _ in self._compared(point)]
        return math.ceil(100 * max([0.0, *shares])) / 100

    def missed(self, point: PlanPoint) -> list[str]:
        """Name the targets that a point is above, and by how much."""
        return [
            f"{param}={most:{form}} by {100 * (found / most - 1):.3g} % (it takes {found:{form}})"
            for param, found, most, form in self._compared(point)
            if found > most
        ]

    def _compared(self, point: PlanPoint) -> list[tuple[str, float, float, str]]:
        pairs = (
            ("targetLatency", point.microseconds, self.microseconds, ".3g"),
            ("maxBytes", point.nbytes, self.nbytes, ",d"),
        )
        return [
            (param, found, most, form) for param, found, most, form in pairs if most is not None
        ]


@dataclass(frozen=True)
class Front:
    """All plans that were measured, and the one taken.

    Attributes
    ----------
    points : tuple of PlanPoint
        Those that were rounded by number of 1-bit layers, then those trained in their order.
    chosen : PlanPoint
        One of them.
    targets : Targets
    full : dict of str to float
        "auc", "log_loss", "microseconds_per_row" and "bytes" of the full-precision network.
    loss_limit : float
        Largest acceptable log loss.
    """

    points: tuple[PlanPoint, ...]
    chosen: PlanPoint
    targets: Targets
    full: dict[str, float]
    loss_limit: float

    @property
    def missed(self) -> bool:
        """Whether the plan taken is above a target, or loses more than the tolerances."""
        return not self.chosen.acceptable or self.targets.excess(self.chosen) > 0

    def reason(self) -> str:
        """Return why this plan was taken, and where something is missed the way out."""
        taken = f"{self.chosen} ({self.chosen.costs()})"
        if not self.missed:
            return f"taken: {taken}, the least lossy plan that meets the targets"
        above = " and ".join(self.targets.missed(self.chosen))
        if not self.chosen.acceptable:
            also = f", and is above {above}" if above else ""
            return (
                f"taken: {taken}, the least lossy plan, since none loses at most what tolerance "
                f"and lossTolerance allow{also}: raise these, or quantise another network"
            )
        return (
            f"taken: {taken}, the nearest to the targets of the plans that lose at most what "
            f"tolerance and lossTolerance allow; it is above {above}: raise the target, or the "
            "tolerances, or quantise a smaller network"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form, nan as None."""
        return {
            "points": [p.to_dict() | {"chosen": p == self.chosen} for p in self.points],
            "full": {k: None if math.isnan(v) else v for k, v in self.full.items()},
            "loss_limit": self.loss_limit,
            "targets": {
                "microseconds_per_row": self.targets.microseconds,
                "bytes": self.targets.nbytes,
            },
        }


def candidate_plans(sensitivity: Sensitivity) -> list[dict[str, str]]:
    """Return 8 bits for all, then one more 1-bit layer at a time, the least sensitive first."""
    ranked = least_sensitive_first(sensitivity)
    return [plan_of(sensitivity, ranked[:count]) for count in range(len(ranked) + 1)]


def pareto(points: Iterable[PlanPoint]) -> list[PlanPoint]:
    """Return the points with `on_front` set, in their order."""
    found = list(points)
    return [
        replace(point, on_front=not any(other.dominates(point) for other in found))
        for point in found
    ]


def choose(points: Sequence[PlanPoint], targets: Targets) -> PlanPoint:
    """Return the point to take.

    Of the acceptable points that meet the targets it is the least lossy; where none does, the
    acceptable one that is nearest to them; where none is acceptable, the least lossy of all. No
    acceptable point dominates it.

    Parameters
    ----------
    points : sequence of PlanPoint
        In any order; one at least.
    targets : Targets
    """
    acceptable = [point for point in points if point.acceptable]

    def cost(point: PlanPoint) -> tuple[Any, ...]:
        far = targets.excess(point) if acceptable else 0.0
        # What follows the costs only makes the order of the points irrelevant.
        return far, *point._costs(), point.trained, point.binary

    return min(acceptable or points, key=cost)


def order_of_training(points: Iterable[PlanPoint], targets: Targets) -> list[PlanPoint]:
    """Return rounded plans as they should be tried: the nearest to the targets first.

    Of plans that are as near, and of those that meet the targets, the fewest 1-bit layers first.
    """
    return sorted(points, key=lambda point: (targets.excess(point), len(point.binary)))
