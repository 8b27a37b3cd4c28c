"""Base of the models that score rows inside Spark."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from spark_ctr.estimator.columns import check_features, check_outputs
from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.source import NetworkSource, params_key
from spark_ctr.estimator.summary import TrainingSummary
from spark_ctr.networks.network import Network
from spark_ctr.rows.scoring import add_predictions, logit_column
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.stage.fitting import StageModel
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.params import HasMainTask
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.tables import Inputs


class CTRModel(HasMainTask, CTRParams, NetworkSource, PersistentStage, StageModel):
    """Base of models that score rows inside Spark."""

    _loader = ""
    # Whether the loader takes a memoryview and reads weights where they are.
    _maps_payload = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._summary: TrainingSummary | None = None
        self._rows = InvalidRows(type(self).__name__)

    @property
    def inputs(self) -> Inputs:
        """Tables and numeric columns that the model reads."""
        raise NotImplementedError

    @property
    def taskNames(self) -> tuple[str, ...]:
        """What the model predicts, such as ``("click",)``."""
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """Serialise the network as it is saved and sent to executors."""
        raise NotImplementedError

    def _scoring_device(self) -> str:
        """Return where workers score: "cpu", or what `gpu_of_task` takes; raise where they cannot.

        Another one than "cpu" needs a loader that is told the GPU.
        """
        return "cpu"

    def _serving(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return what serves: from ids [B, ids_width] and numbers [B, M] to logits [B, T]."""
        raise NotImplementedError

    def predictor(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """Return a function from ids [B, ids_width] and numbers [B, M] (numpy) to logits [B].

        Of several tasks they are the main one's.
        """
        logits, task = self._serving(), self.main_task(self.taskNames)
        return lambda ids, numeric: logits(ids, numeric)[:, task]

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

    def _column_owner(self) -> CTRParams:
        return self

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        if not self.inputs.same_ids(inputs) or self.inputs.numeric != inputs.numeric:
            raise ValueError(
                f"the fitted {type(self).__name__} {self.uid} reads other embedding tables or "
                "numeric columns than the dataset has: encode the dataset with its encoder"
            )
        return self.torchNetwork

    def _model_for(self, data: TrainingData, work: SharedWork) -> CTRModel:
        return self

    def _keys(self) -> list[Hashable]:
        return []

    def _key(self) -> Hashable:
        return params_key(self), id(self.torchNetwork)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        names = self.getCategoricalFeaturesCol(), self.getNumericFeaturesCol()
        check_features(dataset, names, self.inputs)
        check_outputs(dataset, self, self.taskNames)
        logit = logit_column(dataset, self, self.to_bytes())
        held_out = self._summary.held_out if self._summary else {}
        return add_predictions(dataset, logit, self._rows, self, self.taskNames, held_out)

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return {"summary": vars(self.summary)}, {"weights.safetensors": self.to_bytes()}
