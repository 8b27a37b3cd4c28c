"""CTRClassifier: a torch network trained from Spark data, and its model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from pyspark.sql import DataFrame

from spark_ctr.classification.params import CTRParams
from spark_ctr.classification.training_run import first_rows, run_training, validation_points
from spark_ctr.networks.growth import grown_state
from spark_ctr.networks.imported import is_import_path
from spark_ctr.networks.inputs import Inputs, Table
from spark_ctr.networks.network import Network
from spark_ctr.networks.output_bias import absorb_slope, has_logit_bias, start_at
from spark_ctr.networks.registry import build_network
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.networks.trust import check_trusted
from spark_ctr.stage.base import param
from spark_ctr.stage.columns import check_distinct, check_new, metadata_of
from spark_ctr.stage.fit_progress import counted, working
from spark_ctr.stage.fitting import StageEstimator, StageModel
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.scoring import add_predictions, feature_elements, logit_column
from spark_ctr.stage.training_data import (
    TrainingData,
    feature_fields,
    inputs_of,
    training_data,
)
from spark_ctr.stage.training_workers import check_workers
from spark_ctr.training.objective import Objective
from spark_ctr.training.operating_points import best_threshold


@dataclass(frozen=True)
class TrainingSummary:
    """What happened in training; saved with the model.

    Attributes
    ----------
    history : dict
        Of :class:`spark_ctr.training.History`, nan as None.
    rows, positives, skipped : int
        Rows trained on (validation rows included), those with label 1, and rows left out.
    feed : str
        Reader used.
    extra : dict
        What a meta-estimator adds.
    dropped_negatives : int
        Training rows with label 0 that negative sampling left out.
    workers : int
        Processes that trained together.
    base_rate : float or None
        Share of clicks among the training rows, by weight and before negative sampling; training
        starts at it. None in models of earlier versions.
    operating : dict
        Clicks and rows of the validation rows above each of some thresholds of the probability, of
        :func:`spark_ctr.training.operating_points.operating_points`; empty without such rows.
    """

    history: dict[str, Any]
    rows: int
    positives: int
    skipped: int
    feed: str
    extra: dict[str, Any]
    dropped_negatives: int = 0
    workers: int = 1
    base_rate: float | None = None
    operating: dict[str, list[float]] = field(default_factory=dict)

    @property
    def recalibration(self) -> dict[str, Any]:
        """Slope and offset fitted to the logits last, whether they are ``applied``, and why.

        ``log_loss`` is that of the validation rows before, ``cross_fitted`` that of each of them by
        what was fitted without it, ``events`` counts those of the rarer class. Empty where there
        were no validation rows or ``recalibrate`` was off.
        """
        return self.history.get("recalibration", {})

    def threshold(self, metric: str = "f1", beta: float = 1.0) -> float:
        """Threshold that is best on the validation rows, for the model's ``setThreshold``.

        Parameters
        ----------
        metric : {"f1", "youden", "rate"}
            "f1": F measure of the clicks, where recall weighs `beta` times what precision does;
            "youden": share of the clicks caught minus share of the others caught; "rate": as many
            predictions of a click as there are clicks.
        beta : float

        Raises
        ------
        ValueError
            Without validation rows of both labels, and for a model that an earlier version saved.
        """
        return best_threshold(self.operating, metric, beta)


def saved_summary(state: dict[str, Any]) -> TrainingSummary:
    """Rebuild the summary of a saved model.

    Raises
    ------
    ValueError
        If it is none.
    """
    summary = state.get("summary")
    kinds = {found.name: str(found.type).partition("[")[0] for found in fields(TrainingSummary)}
    if not isinstance(summary, dict) or not {*summary} <= {*kinds}:
        raise ValueError(f"summary is not one of a training: {summary!r:.100}")
    for name, value in summary.items():
        wanted = {"int": "int", "str": "str", "dict": "dict"}.get(kinds[name])
        if wanted and (type(value).__name__ != wanted or (wanted == "int" and value < 0)):
            raise ValueError(f"{name} of the summary is {value!r:.100}")
    return TrainingSummary(**summary)


class CTREstimator(PersistentStage, StageEstimator):
    """Base of estimators that train on materialised rows; their nesting shares one copy."""

    def _fit(self, dataset: DataFrame) -> Any:
        owner = self._column_owner()
        columns = owner.training_columns()
        self._check(inputs_of(dataset, columns))
        check_outputs(dataset, owner)  # now rather than when the trained model is first used
        title = f"{type(self).__name__}, writing the rows to train on"
        with ExitStack() as opened:
            with working(title, owner.getVerbose()) as result:
                data = opened.enter_context(training_data(dataset, columns))
                result(f"{counted(data.rows, 'row')}, {data.positives:,} with label 1")
            return self._train(data)

    def _column_owner(self) -> CTRParams:
        """Return the stage whose Params name the columns."""
        raise NotImplementedError

    def _check(self, inputs: Inputs) -> None:
        """Refuse settings that cannot work, before anything is written."""

    def _train(self, data: TrainingData) -> Any:
        raise NotImplementedError


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

    def _check(self, inputs: Inputs) -> None:
        self._build(inputs)
        self.check_tracking()
        cache_dir = self._value("cacheDir")
        check_workers(self.getNumWorkers(), self.getBatchSize(), self.getDevice(), cache_dir)

    def _build(self, inputs: Inputs) -> Network:
        network = build_network(self.getNetwork(), inputs, self.network_config(), self.getSeed())
        initial = self._value("initialModel")
        if initial is not None:
            network.load_state_dict(grown_state(initial.torchNetwork, network))
            absorb_slope(network)
        return network

    def _train(self, data: TrainingData) -> CTRClassificationModel:
        network = self._build(data.inputs)
        return self._train_network(data, network, f"training {self.getNetwork()}")

    def _train_network(
        self,
        data: TrainingData,
        network: Network,
        title: str,
        extra: dict[str, Any] | None = None,
        objective: Objective | None = None,
    ) -> CTRClassificationModel:
        """Train a network, by default to tell clicks, and wrap it."""
        objective = objective or Objective({"logit_shift": data.logit_shift})
        if self._value("initialModel") is None:
            sample = None if has_logit_bias(network) else first_rows(self, data)
            start_at(network, data.log_odds, sample)
        trained = run_training(self, data, network, objective, title)
        model = CTRClassificationModel()._with(trained.network, None)
        summary = TrainingSummary(
            trained.history,
            data.rows,
            data.positives,
            data.skipped,
            trained.feed,
            extra or {},
            data.dropped_negatives,
            self.getNumWorkers(),
            1 / (1 + math.exp(-data.log_odds)),
            validation_points(self, data, model.predictor()),
        )
        model._resetUid(self.uid)
        return self._copyValues(model)._with(trained.network, summary)


def _check_trusted(params: CTRParams) -> None:
    """Refuse the import path of a saved stage's network, unless its module is trusted."""
    if is_import_path(params.getNetwork()):
        check_trusted(params.getNetwork())


def check_outputs(dataset: DataFrame, params: CTRParams) -> None:
    """Refuse prediction columns that the dataset has already or that share a name.

    Raises
    ------
    ValueError
    """
    names = ("rawPredictionCol", "probabilityCol", "predictionCol")
    columns = [params.getOrDefault(name) for name in names]
    for name, output in zip(names, columns, strict=True):
        check_new(dataset, [output], name)
    check_distinct(dataset, columns, "rawPredictionCol, probabilityCol and predictionCol")


class CTRModel(CTRParams, PersistentStage, StageModel):
    """Base of models that score rows inside Spark."""

    _loader = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._summary: TrainingSummary | None = None
        self._rows = InvalidRows(type(self).__name__)

    @property
    def inputs(self) -> Inputs:
        """Tables and numeric columns that the model reads."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Serialise the network as it is saved and sent to executors."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Size of the serialised network in bytes."""
        return len(self.to_bytes())

    @property
    def summary(self) -> TrainingSummary:
        """Training history and counts."""
        if self._summary is None:
            raise ValueError(f"{self.uid} has no summary: it was not trained")
        return self._summary

    @property
    def skippedRows(self) -> int:
        """Invalid rows of the dataset transformed last; counted by a job the first time."""
        return self._rows.count()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = self.getCategoricalFeaturesCol(), self.getNumericFeaturesCol()
        check_features(dataset, names, self.inputs)
        check_outputs(dataset, self)
        flat, policy = feature_elements(self), self.getHandleInvalid()
        logit = logit_column(flat, self.inputs, self._loader, self.to_bytes(), policy)
        return add_predictions(dataset, logit, self._rows, self)

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return {"summary": vars(self.summary)}, {"weights.safetensors": self.to_bytes()}


def check_features(dataset: DataFrame, names: tuple[str, str], inputs: Inputs) -> None:
    """Check that the feature columns exist and were encoded for this model.

    Raises
    ------
    ValueError, TypeError
    """
    ids, _ = feature_fields(dataset, *names)
    found = tuple(map(Table.from_dict, metadata_of(ids).get("tables", [])))
    if found and not Inputs(found, inputs.numeric).same_ids(inputs):
        layouts = [[table.ids_layout for table in tables] for tables in (found, inputs.tables)]
        values = " of other values" if layouts[0] == layouts[1] else ""
        raise ValueError(
            f"column {names[0]!r} (categoricalFeaturesCol) was encoded with tables {layouts[0]}"
            f"{values}, the model was trained on {layouts[1]}: use the encoder it was trained with"
        )


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

    def to_bytes(self) -> bytes:
        """Weights and architecture as safetensors."""
        return network_to_bytes(self.torchNetwork)

    def predictor(self) -> Callable[..., Any]:
        """Return a function from ids [B, ids_width] and numbers [B, M] (numpy) to logits [B]."""

        def predict(ids: Any, numeric: Any) -> Any:
            with torch.inference_mode():
                return self.torchNetwork(torch.from_numpy(ids), torch.from_numpy(numeric)).numpy()

        return predict

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        _check_trusted(self)
        network = network_from_bytes(payload["weights.safetensors"])
        self._with(network, saved_summary(state))
