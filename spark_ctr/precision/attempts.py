"""Attempts to quantise a network: by a plan, rounded or trained, beside the full precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from spark_ctr.networks.network import Network
from spark_ctr.precision.qat import BINARY, prepare
from spark_ctr.precision.rare_rows import Ranges
from spark_ctr.training.history import History
from spark_ctr.training.losses import Objective
from spark_ctr.training.predictions import Feed, predict
from spark_ctr.training.recalibration import recalibrate_network
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.training_run import Change, TrainedNetwork, TrainingRun
from spark_ctr.training.validation import figures

_PREPARE = f"{prepare.__module__}:{prepare.__name__}"


@dataclass(frozen=True)
class Attempt:
    """A network quantised by a plan, and its "auc" and "log_loss" on the validation rows.

    Where it was only rounded, its history has no epochs and its feed no name.
    """

    plan: dict[str, str]
    trained: TrainedNetwork
    figures: dict[str, float]


@dataclass
class Attempts:
    """Quantises a network by one plan after another, and compares with full precision.

    Attributes
    ----------
    network : Network
        Trained, full precision; left as it is.
    valid_feed : Feed
    calibration : (Tensor, Tensor)
        Ids and numbers of :func:`spark_ctr.precision.qat.prepare`.
    settings : TrainingSettings
        Of fine-tuning.
    tolerance, loss_tolerance : float
        Of :func:`spark_ctr.precision.fine_tuning.fine_tune`, as are the following.
    activations : bool
    objective : Objective
    run : callable
    coarse : dict
        Rows of 4 bits, from :func:`spark_ctr.precision.rare_rows.rare_rows`.
    log : list of str
        What was told.
    full : dict of str to float
        "auc" and "log_loss" of `network`.
    """

    network: Network
    valid_feed: Feed
    calibration: tuple[Tensor, Tensor]
    settings: TrainingSettings
    tolerance: float
    loss_tolerance: float
    activations: bool
    objective: Objective
    run: Callable[[TrainingRun], TrainedNetwork]
    coarse: Ranges = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    full: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.full = figures_of(self.network, self.valid_feed)

    def rounded(self, plan: dict[str, str]) -> Attempt:
        """Round, and recalibrate where the settings say so."""
        network = self._prepared(plan)
        history = History()
        if self.settings.recalibrate:
            history.recalibration = recalibrate_network(network, predict(network, self.valid_feed))
        trained = TrainedNetwork(network, history.to_dict(), "")
        return Attempt(plan, trained, figures_of(network, self.valid_feed))

    def trained(self, plan: dict[str, str]) -> Attempt:
        """Fine-tune."""
        title = f"quantising, 1-bit layers: {len(binary_layers(plan))}"
        options = {"plan": plan, "activations": self.activations, "coarse": self.coarse}
        change = Change(_PREPARE, options)
        asked = TrainingRun(self._prepared(plan), self.objective, self.settings, title, change)
        trained = self.run(asked)
        return Attempt(plan, trained, figures_of(trained.network, self.valid_feed))

    @property
    def loss_limit(self) -> float:
        """Largest acceptable log loss."""
        return self.full["log_loss"] * (1 + self.loss_tolerance)

    def acceptable(self, reached: Mapping[str, float]) -> bool:
        """Return whether "auc" and "log_loss" lose no more than the tolerances."""
        # A validation set of one class has no AUC (nan), and of AUC nothing to back off from.
        lost = reached["auc"] < self.full["auc"] - self.tolerance
        return not lost and not reached["log_loss"] > self.loss_limit

    def tell(
        self, binary: Sequence[str], how: str, reached: Mapping[str, float], costs: str = ""
    ) -> None:
        """Write into the log what a plan, "rounded" or "trained", reached."""
        layers = f"1-bit layers {list(binary) or 'none'}, {how}"
        self.log.append(f"{layers}: {self.compared(reached)}{costs}")

    def compared(self, reached: Mapping[str, float]) -> str:
        """Return "auc" and "log_loss" beside those of full precision, in words."""
        return (
            f"validation AUC {reached['auc']:.4f}, full precision {self.full['auc']:.4f}; "
            f"log loss {reached['log_loss']:.4f}, {self.full['log_loss']:.4f}"
        )

    def _prepared(self, plan: dict[str, str]) -> Network:
        return prepare(
            self.network,
            plan,
            self.calibration,
            activations=self.activations,
            coarse=self.coarse,
        )


def binary_layers(plan: Mapping[str, str]) -> list[str]:
    """Return the 1-bit layers of a plan."""
    return [name for name, precision in plan.items() if precision == BINARY]


def figures_of(network: Network, feed: Feed) -> dict[str, float]:
    """Return AUC and log loss of a feed's rows; of several tasks, their means."""
    rows = predict(network, feed)
    tasks = {name: rows.of_task(task) for task, name in enumerate(network.tasks)}
    found = figures(tasks, left_out=network.derived_tasks)
    return {"auc": found["valid_auc"], "log_loss": found["valid_loss"]}
