"""Params of CTR classifiers: columns, network, training."""

from __future__ import annotations

from typing import Any, ClassVar

from pyspark.ml.param import TypeConverters

from spark_ctr.estimator.network_params import HasNetwork
from spark_ctr.estimator.run_params import HasTrainingRun
from spark_ctr.rows.training_data import TrainingColumns
from spark_ctr.stage.base import number, one_of, param, setting_param
from spark_ctr.stage.params import (
    HasFeatures,
    HasInvalid,
    HasLabel,
    HasPredictions,
    HasRandomSeed,
)
from spark_ctr.training.losses import TermSettings
from spark_ctr.training.settings import TRAINING, TrainingSettings


class CTRParams(
    HasFeatures,
    HasNetwork,
    HasTrainingRun,
    HasPredictions,
    HasInvalid,
    HasRandomSeed,
):
    """Params that a CTR classifier and its model share, but for those of its labels."""

    # Params that stages must agree on which learn from the same labels, beside `labels`.
    _label_params: ClassVar[tuple[str, ...]] = ("weightCol",)

    weightCol = param("weightCol", "sample weight column, numeric", TypeConverters.toString)
    validationIndicatorCol = param(
        "validationIndicatorCol",
        "boolean column, true for rows that choose the best epoch instead of being trained on; "
        "unset: validationFraction of the rows",
        TypeConverters.toString,
    )
    validationTimeCol = param(
        "validationTimeCol",
        "timestamp, date, numeric or text column, texts as spark_ctr.feature.read_time has them: "
        "the latest validationFraction of the rows choose the best epoch, rows of one time "
        "together; the cut is exact and takes two more passes over this column; a row without a "
        "time is invalid, or trained on with handleInvalid='keep'",
        TypeConverters.toString,
    )
    validationFraction = param(
        "validationFraction",
        "share of rows held out to choose the best epoch",
        number("validationFraction", float, at_least=0.0, below=1.0),
        0.1,
    )
    negativeSamplingRate = param(
        "negativeSamplingRate",
        "share of the training rows with label 0 to train on; validation rows are all kept, and "
        "probabilities are those of the unsampled rows",
        number("negativeSamplingRate", float, above=0.0, at_most=1.0),
        1.0,
    )
    learningRate = setting_param("learningRate", TRAINING["learning_rate"])
    optimizer = setting_param("optimizer", TRAINING["optimizer"])
    learningRateDecay = setting_param("learningRateDecay", TRAINING["learning_rate_decay"])
    learningRateSchedule = setting_param("learningRateSchedule", TRAINING["schedule"])
    warmupSteps = setting_param("warmupSteps", TRAINING["warmup_steps"])
    weightDecay = setting_param("weightDecay", TRAINING["weight_decay"])
    embeddingRegularization = setting_param("embeddingRegularization", TRAINING["embedding_l2"])
    clipNorm = setting_param("clipNorm", TRAINING["clip_norm"])
    weightAveraging = setting_param("weightAveraging", TRAINING["average_weights"])
    batchSize = setting_param("batchSize", TRAINING["batch_size"])
    maxIter = setting_param("maxIter", TRAINING["max_epochs"])
    patience = setting_param("patience", TRAINING["patience"])
    monitor = setting_param("monitor", TRAINING["monitor"])
    recalibrate = setting_param("recalibrate", TRAINING["recalibrate"])
    device = setting_param("device", TRAINING["device"])
    precision = setting_param("precision", TRAINING["precision"])
    feed = param(
        "feed",
        "reader of the training files: 'petastorm', 'pyarrow', or 'auto' (Petastorm where it "
        "can be imported)",
        one_of("feed", "auto", "petastorm", "pyarrow"),
        "auto",
    )
    shuffleBufferRows = param(
        "shuffleBufferRows",
        "rows held in memory: shuffled together if all fit, else half of them at a time",
        number("shuffleBufferRows", int, at_least=1),
        1_000_000,
    )
    cacheDir = param(
        "cacheDir",
        "folder (path or URI) for the training files, seen by driver and executors; unset: a "
        "temporary folder of this machine; removed after training",
        TypeConverters.toString,
    )

    def training_settings(self) -> TrainingSettings:
        """Return the settings for ``training.train``."""
        return TrainingSettings(**self.setting_values(TRAINING))

    def training_columns(self) -> TrainingColumns:
        """Columns and split for ``stage.training_data``."""
        return TrainingColumns(
            **self.labels(),
            weight=self._value("weightCol"),
            validation=self._value("validationIndicatorCol"),
            validation_time=self._value("validationTimeCol"),
            categorical=self.getCategoricalFeaturesCol(),
            numeric=self.getNumericFeaturesCol(),
            validation_fraction=self.getValidationFraction(),
            negative_sampling_rate=self.getNegativeSamplingRate(),
            seed=self.getSeed(),
            handle_invalid=self.getHandleInvalid(),
            cache_dir=self._value("cacheDir"),
        )

    def labels(self) -> dict[str, Any]:
        """Return what `TrainingColumns` says of labels."""
        raise NotImplementedError

    def label_term(self, logit_shift: float, by_member: bool = True) -> TermSettings:
        """Return the term of the loss that is of the labels.

        Parameters
        ----------
        logit_shift : float
            Of `TrainingData`.
        by_member : bool
            Of an ensemble, the loss of each member rather than that of their mean.
        """
        raise NotImplementedError


class ClickParams(HasLabel, CTRParams):
    """Params of a classifier of one task and of its model."""

    _label_params: ClassVar[tuple[str, ...]] = ("labelCol", "positiveLabel", "weightCol")

    def labels(self) -> dict[str, Any]:
        """See `CTRParams.labels`."""
        return {"label": self.getLabelCol(), "positive_label": self._value("positiveLabel")}

    def label_term(self, logit_shift: float, by_member: bool = True) -> TermSettings:
        """See `CTRParams.label_term`."""
        options: dict[str, Any] = {"logit_shift": logit_shift}
        return TermSettings(
            "click", options=options if by_member else options | {"by_member": False}
        )
