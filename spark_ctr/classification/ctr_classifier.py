"""CTRClassifier: a torch network trained from Spark data, and its model."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

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
from spark_ctr.stage.base import param
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.tables import Inputs
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.training_run import TrainingRun


class CTRClassifier(MetaStage, CTRParams, CTREstimator):
    """Train a click-through-rate network on the columns of HashedEmbeddingEncoder.

    Training runs in the driver's process, or in ``numWorkers`` Spark tasks, and reads Parquet files
    that the dataset is written to, so the data need not fit in memory. The weights of the best
    epoch on the validation rows are kept. For one seed the result on a CPU is the same on every
    run, however the dataset is partitioned, and that of several workers is that of one up to
    rounding and dropout while the rows fit ``shuffleBufferRows``.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021; Guo et al., "DeepFM", IJCAI 2017.
    """

    _nested_params = ("initialModel",)

    initialModel = param(
        "initialModel",
        "fitted CTRClassificationModel of the same network and columns whose weights training "
        "starts from; the optimiser starts anew",
        stage_of("initialModel", "CTRClassificationModel"),
    )

    def _column_owner(self) -> CTRParams:
        return self

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        _check_trusted(self)

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        check_run(self)
        return self._network_for(inputs)

    def _network_for(self, inputs: Inputs) -> Network:
        inputs, config = self.network_inputs(inputs), self.network_config()
        network = build_network(self.getNetwork(), inputs, config, self.getSeed())
        if len(network.tasks) > 1:
            raise ValueError(
                f"network '{self.getNetwork()}' has the tasks {', '.join(network.tasks)}, and "
                "CTRClassifier trains one: choose a network of one task"
            )
        initial = self._value("initialModel")
        if initial is not None:
            network.load_state_dict(grown_state(initial.torchNetwork, network))
            absorb_slope(network)
        return network

    def _train(self, data: TrainingData, work: SharedWork) -> CTRClassificationModel:
        click = TermSettings("click", options={"logit_shift": data.logit_shift})
        network, title = self._network_for(data.inputs), f"training {self.getNetwork()}"
        self._start(network, data)
        return self._train_network(data, network, Objective((click,)), title)

    def _start(self, network: Network, data: TrainingData) -> None:
        """Have an untrained network start at the base rate."""
        if self._value("initialModel") is None:
            sample = None
            if not has_logit_bias(network):
                rows = first_rows(self, data)
                sample = rows.ids, rows.numeric
            start_at(network, data.log_odds, sample)

    def _train_network(
        self,
        data: TrainingData,
        network: Network,
        objective: Objective,
        title: str,
        extra: dict[str, Any] | None = None,
        settings: TrainingSettings | None = None,
    ) -> CTRClassificationModel:
        """Train a network and wrap it."""
        run = TrainingRun(network, objective, settings or self.training_settings(), title)
        trained = run_training(self, data, run)
        model = CTRClassificationModel()._with(trained.network, None)
        model._summary = summary_of(self, data, trained, model._serving(), extra or {})
        return self._dressed(model, self)


def _check_trusted(params: CTRParams) -> None:
    """Refuse the import path of a saved stage's network, unless its module is trusted."""
    if is_import_path(params.getNetwork()):
        check_trusted(params.getNetwork())


class CTRClassificationModel(CTRModel):
    """Fitted :class:`CTRClassifier`: adds rawPrediction, probability and prediction.

    ``LayerwiseDistiller`` returns one too, the student; right after fitting, ``teacher`` is the
    model it learned from (it is not saved with the student). A model whose ``network`` is an import
    path is loaded only where its module is trusted: ``load(path, trustedModules=["clicks"])``.
    """

    _loader = "spark_ctr.networks.serialization:predictor_from_bytes"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._network: Network | None = None
        self.teacher: CTRClassificationModel | None = None

    def _with(self, network: Network, summary: TrainingSummary | None) -> CTRClassificationModel:
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
    def tasks(self) -> tuple[str, ...]:
        """What the network predicts."""
        return self.torchNetwork.tasks

    def to_bytes(self) -> bytes:
        """Weights and architecture as safetensors."""
        return network_to_bytes(self.torchNetwork)

    def _serving(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return predictor_of(self.torchNetwork)

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        _check_trusted(self)
        network = network_from_bytes(payload["weights.safetensors"])
        self._with(network, saved_summary(state))
