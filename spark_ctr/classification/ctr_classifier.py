"""CTRClassifier: a torch network trained from Spark data, and its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from pyspark.ml import Estimator, Model
from pyspark.sql import DataFrame

from spark_ctr.classification.params import CTRParams
from spark_ctr.networks.inputs import Inputs, Table
from spark_ctr.networks.network import Network
from spark_ctr.networks.registry import build_network
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.stage.columns import check_distinct, check_new, metadata_of
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.scoring import add_predictions, feature_elements, logit_column
from spark_ctr.stage.training_data import (
    TrainingData,
    feature_fields,
    inputs_of,
    training_data,
)
from spark_ctr.training.feeds import Feed, open_feed
from spark_ctr.training.loss import click_loss
from spark_ctr.training.trainer import train


@dataclass(frozen=True)
class TrainingSummary:
    """What happened in training; saved with the model.

    Attributes
    ----------
    history : dict
        ``epochs`` (a record each: losses, validation AUC, learning rate, rows/s, seconds),
        ``best_epoch``, ``monitor``, ``stopped_early``.
    rows, positives, skipped : int
        Rows trained on (validation rows included), those with label 1, and rows left out.
    feed : str
        Reader used.
    extra : dict
        What a meta-estimator adds.
    dropped_negatives : int
        Training rows with label 0 that negative sampling left out.
    """

    history: dict[str, Any]
    rows: int
    positives: int
    skipped: int
    feed: str
    extra: dict[str, Any]
    dropped_negatives: int = 0


class CTREstimator(PersistentStage, Estimator):
    """Base of estimators that train on materialised rows; their nesting shares one copy."""

    def _fit(self, dataset: DataFrame) -> Any:
        owner = self._column_owner()
        columns = owner.training_columns()
        self._check(inputs_of(dataset, columns))
        check_outputs(dataset, owner)  # now rather than when the trained model is first used
        with training_data(dataset, columns) as data:
            return self._train(data)

    def _column_owner(self) -> CTRParams:
        """Return the stage whose Params name the columns."""
        raise NotImplementedError

    def _check(self, inputs: Inputs) -> None:
        """Refuse settings that cannot work, before anything is written."""

    def _train(self, data: TrainingData) -> Any:
        raise NotImplementedError


class CTRClassifier(CTRParams, CTREstimator):
    """Train a click-through-rate network on the columns of HashedEmbeddingEncoder.

    Training runs in the driver's process and reads Parquet files that the dataset is written to,
    so the data need not fit in memory. The weights of the best epoch on the validation rows are
    kept. For one seed the result on a CPU is the same on every run, however the dataset is
    partitioned.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021; Guo et al., "DeepFM", IJCAI 2017.
    """

    def _column_owner(self) -> CTRParams:
        return self

    def _check(self, inputs: Inputs) -> None:
        self._build(inputs)

    def _build(self, inputs: Inputs) -> Network:
        return build_network(self.getNetwork(), inputs, self.network_config(), self.getSeed())

    def _train(self, data: TrainingData) -> CTRClassificationModel:
        network = self._build(data.inputs)
        return self._train_network(data, network, f"training {self.getNetwork()}")

    def _train_network(
        self,
        data: TrainingData,
        network: Network,
        title: str,
        extra: dict[str, Any] | None = None,
        **hooks: Any,
    ) -> CTRClassificationModel:
        """Train a network with ``training.train``'s hooks and wrap it."""
        feed, valid = open_feeds(self, data)
        if data.logit_shift and "loss" not in hooks:
            hooks["loss"] = partial(click_loss, logit_shift=data.logit_shift)
        history = train(
            network,
            feed,
            valid,
            self.training_settings(),
            progress=self.progress(title),
            **hooks,
        )
        summary = TrainingSummary(
            history.to_dict(),
            data.rows,
            data.positives,
            data.skipped,
            feed.kind,
            extra or {},
            data.dropped_negatives,
        )
        model = CTRClassificationModel()
        model._resetUid(self.uid)
        return self._copyValues(model)._with(network, summary)


def open_feeds(params: CTRParams, data: TrainingData) -> tuple[Feed, Feed | None]:
    """Open the feeds of training and validation rows; None for no validation rows."""
    width, numbers = data.inputs.ids_width, len(data.inputs.numeric)

    def feed(path: str, shuffle: bool) -> Feed:
        return open_feed(
            path,
            width,
            numbers,
            kind=params.getFeed(),
            batch_size=params.getBatchSize() if shuffle else 8192,
            shuffle=shuffle,
            seed=params.getSeed(),
            shuffle_buffer_rows=params.getShuffleBufferRows(),
        )

    return feed(data.train_path, True), feed(data.valid_path, False) if data.valid_rows else None


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
    check_distinct(columns, "rawPredictionCol, probabilityCol and predictionCol")


class CTRModel(CTRParams, PersistentStage, Model):
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
        """Rows dropped by the last transformed dataset; waits for an action on it."""
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
    tables = map(Table.from_dict, metadata_of(ids).get("tables", []))
    found = [table.ids_layout for table in tables]
    wanted = [table.ids_layout for table in inputs.tables]
    if found and found != wanted:
        raise ValueError(
            f"column {names[0]!r} (categoricalFeaturesCol) was encoded with tables {found}, the "
            f"model was trained on {wanted}: use the encoder it was trained with"
        )


class CTRClassificationModel(CTRModel):
    """Fitted :class:`CTRClassifier`: adds rawPrediction, probability and prediction.

    ``LayerwiseDistiller`` returns one too, the student; right after fitting, ``teacher`` is the
    model it learned from (it is not saved with the student).
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
        self._with(
            network_from_bytes(payload["weights.safetensors"]), TrainingSummary(**state["summary"])
        )
