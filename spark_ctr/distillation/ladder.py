"""A ladder of student sizes, and the largest that serves within a time measured here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spark_ctr.estimator.serving_time import BATCH_ROWS, Predictor, microseconds_per_row
from spark_ctr.networks.registry import build_network, network_settings
from spark_ctr.networks.serialization import predictor_of
from spark_ctr.tables import Inputs


@dataclass(frozen=True)
class Rung:
    """One size of a student.

    Attributes
    ----------
    hidden_layers : tuple of int
        Widths of the perceptron.
    embedding_dim : int
        Widest embedding row, see `Inputs.at_most`.
    """

    hidden_layers: tuple[int, ...]
    embedding_dim: int

    def predictor(self, network: str, config: Mapping[str, Any], inputs: Inputs) -> Predictor:
        """Return what serves an untrained network of this size: its weights take no less time.

        Raises
        ------
        ValueError, TypeError
            See `spark_ctr.networks.registry.build_network`.
        """
        sized = {**config, "hidden_layers": list(self.hidden_layers)}
        built = build_network(network, inputs.at_most(self.embedding_dim), sized)
        return predictor_of(built)

    def __str__(self) -> str:
        return f"{list(self.hidden_layers)}, embedding dim {self.embedding_dim}"


# Of falling time: of ten columns, each takes a half to three quarters of the one before.
LADDER = (
    Rung((400, 400), 16),
    Rung((300, 300), 16),
    Rung((256, 128), 12),
    Rung((192, 96), 10),
    Rung((128, 64), 8),
    Rung((96, 48), 8),
    Rung((64, 32), 6),
    Rung((48, 24), 4),
    Rung((32, 16), 4),
    Rung((16,), 2),
)


@dataclass(frozen=True)
class Choice:
    """The rung chosen, and what was measured for it.

    Attributes
    ----------
    rung : Rung
    target : float
        Microseconds a row.
    measured : dict of Rung to float
        Microseconds a row, of the rungs measured, largest first.
    """

    rung: Rung
    target: float
    measured: dict[Rung, float]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able description, for the summary of a training."""
        return {
            **asdict(self.rung),
            "target_us": self.target,
            "measured": [{**asdict(rung), "us": found} for rung, found in self.measured.items()],
        }


def drawn_rows(inputs: Inputs, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw valid ids, int32 [rows, ids_width], uniformly and numbers, float32 [rows, M]."""
    random = np.random.default_rng(seed)
    ids = np.empty((rows, inputs.ids_width), dtype=np.int32)
    for slot, table in enumerate(inputs.slot_tables):
        ids[:, slot] = random.integers(table.lowest, table.rows, rows)
    numeric = random.standard_normal((rows, len(inputs.numeric)), dtype=np.float32)
    return ids, numeric


def time_per_row(predict: Predictor, inputs: Inputs) -> float:
    """Microseconds that a predictor of some columns takes for a row, on one thread."""
    return microseconds_per_row({"": predict}, *drawn_rows(inputs, BATCH_ROWS))[""]


def largest_within(
    measure: Callable[[Rung], float], target: float, ladder: Sequence[Rung] = LADDER
) -> Choice:
    """Return the largest rung whose time is within the target.

    Bisects, since a rung takes the memory and the time of building its tables: the rung was
    measured within the target, and the next larger one was measured beyond it.

    Parameters
    ----------
    measure : function of a Rung
        Microseconds a row.
    target : float
        Microseconds a row.
    ladder : sequence of Rung
        Of falling time.

    Raises
    ------
    ValueError
        If even the last rung takes longer.
    """
    measured: dict[int, float] = {}
    low, high = 0, len(ladder)
    while low < high:
        middle = (low + high) // 2
        measured[middle] = measure(ladder[middle])
        if measured[middle] <= target:
            high = middle
        else:
            low = middle + 1
    if high == len(ladder):
        raise ValueError(
            f"no student is within {target:.3g} microseconds a row: the smallest, {ladder[-1]}, "
            f"takes {measured[high - 1]:.3g} on this machine; allow more time, or fewer columns"
        )
    return Choice(ladder[high], target, {ladder[i]: measured[i] for i in sorted(measured)})


def pick(
    network: str,
    config: Mapping[str, Any],
    inputs: Inputs,
    *,
    target_latency: float | None = None,
    target_share: float | None = None,
    teacher_time: float | None = None,
    measure: Callable[[Predictor, Inputs], float] = time_per_row,
) -> Choice:
    """Return the largest student that serves within a target on this machine.

    Parameters
    ----------
    network : str
        Name of a network with a perceptron.
    config : mapping
        Its settings; the rung's hidden layers replace those given, all else is kept.
    inputs : Inputs
        Columns of the data, as planned.
    target_latency : float, optional
        Microseconds a row.
    target_share : float, optional
        Share of `teacher_time` instead.
    teacher_time : float, optional
        `time_per_row` of the teacher.
    measure : function
        Microseconds a row of a predictor of some columns.

    Raises
    ------
    ValueError
        If not just one target is given, the network has no hidden layers to choose, or no rung is
        within the target.
    """
    if (target_latency is None) == (target_share is None):
        raise ValueError("give either target_latency or target_share")
    if target_share is not None:
        if teacher_time is None:
            raise ValueError("target_share is a share of the teacher's time: give teacher_time")
        target_latency = target_share * teacher_time
    if "hidden_layers" not in (network_settings(network) or {}):
        raise ValueError(
            f"network '{network}' has no hidden layers to choose by time: choose one with a "
            "perceptron, such as 'dnn', or set no target"
        )

    def timed(rung: Rung) -> float:
        return measure(rung.predictor(network, config, inputs), inputs)

    return largest_within(timed, target_latency)  # type: ignore[arg-type]
