"""Base of the estimators that train one network, and of their models."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from spark_ctr.estimator.estimator import CTREstimator
from spark_ctr.estimator.model import CTRModel
from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.run import first_rows, run_training, summary_of
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.summary import TrainingSummary, saved_summary
from spark_ctr.estimator.workers import check_run
from spark_ctr.networks.growth import grown_state
from spark_ctr.networks.imported import is_import_path
from spark_ctr.networks.network import Network
from spark_ctr.networks.output_bias import absorb_slope, has_logit_bias, start_at
from spark_ctr.networks.registry import build_network
from spark_ctr.networks.serialization import (
    network_from_bytes,
    network_to_bytes,
    predictor_of,
)
from spark_ctr.networks.trust import check_trusted
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.stage.meta import MetaStage
from spark_ctr.tables import Inputs
from spark_ctr.training.losses import Objective
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.training_run import TrainingRun


class NetworkClassifier(MetaStage, CTRParams, CTREstimator):
    """Base of estimators that train one network.

    A subclass has the Params of its labels and ``initialModel``, checks its network, and names the
    class of its model.
    """

    _nested_params = ("initialModel",)
    _model: ClassVar[type[NetworkModel]]

    def _column_owner(self) -> CTRParams:
        return self

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        check_network_trusted(self)

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        check_run(self)
        return self._network_for(inputs)

    def _check_tasks(self, network: Network) -> None:
        """Refuse a network that is not of this stage's tasks."""
        raise NotImplementedError

    def _network_for(self, inputs: Inputs) -> Network:
        inputs, config = self.network_inputs(inputs), self.network_config()
        network = build_network(self.getNetwork(), inputs, config, self.getSeed())
        self._check_tasks(network)
        initial = self._value("initialModel")
        if initial is not None:
            network.load_state_dict(grown_state(initial.torchNetwork, network))
            absorb_slope(network)
        return network

    def _train(self, data: TrainingData, work: SharedWork) -> Any:
        objective = Objective((self.label_term(data.logit_shift),))
        network, title = self._network_for(data.inputs), f"training {self.getNetwork()}"
        self._start(network, data)
        return self._train_network(data, network, objective, title)

    def _start(self, network: Network, data: TrainingData) -> None:
        """Have an untrained network start at the base rate of each task."""
        if self._value("initialModel") is None:
            sample = None
            if not has_logit_bias(network):
                rows = first_rows(self, data)
                sample = rows.ids, rows.numeric
            start_at(network, [task.log_odds for task in data.tasks], sample)

    def _train_network(
        self,
        data: TrainingData,
        network: Network,
        objective: Objective,
        title: str,
        extra: dict[str, Any] | None = None,
        settings: TrainingSettings | None = None,
    ) -> Any:
        """Train a network and wrap it."""
        run = TrainingRun(network, objective, settings or self.training_settings(), title)
        trained = run_training(self, data, run)
        model = self._model()._with(trained.network, None)
        model._summary = summary_of(self, data, trained, model._serving(), extra or {})
        return self._dressed(model, self)


def check_network_trusted(params: CTRParams) -> None:
    """Refuse the import path of a saved stage's network, unless its module is trusted."""
    if is_import_path(params.getNetwork()):
        check_trusted(params.getNetwork())


class NetworkModel(CTRModel):
    """Base of the models that hold a network."""

    _loader = "spark_ctr.networks.serialization:predictor_from_bytes"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._network: Network | None = None
        self.teacher: Any = None

    def _with(self, network: Network, summary: TrainingSummary | None) -> Any:
        self._network, self._summary = network, summary
        return self

    @property
    def torchNetwork(self) -> Network:
        """The torch module, in evaluation mode."""
        if self._network is None:
            raise ValueError(f"{self.uid} has no network: it was not trained")
        return self._network

    @property
    def inputs(self) -> Inputs:
        """Tables and numeric columns that the model reads."""
        return self.torchNetwork.inputs

    def _network_defaults(self) -> dict[str, Any]:
        # What this network has, whatever the defaults of its kind have become since.
        return (
            super()._network_defaults() if self._network is None else deepcopy(self._network.config)
        )

    @property
    def taskNames(self) -> tuple[str, ...]:
        """What the network predicts."""
        return self.torchNetwork.tasks

    def to_bytes(self) -> bytes:
        """Weights and architecture as safetensors."""
        return network_to_bytes(self.torchNetwork)

    def _serving(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return predictor_of(self.torchNetwork)

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        check_network_trusted(self)
        network = network_from_bytes(payload["weights.safetensors"])
        self._with(network, saved_summary(state))
