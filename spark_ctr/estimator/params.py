"""Params of CTR classifiers: columns, network, training."""

from __future__ import annotations

from pyspark.ml.param import TypeConverters

from spark_ctr.estimator.network_params import HasNetwork
from spark_ctr.estimator.run_params import HasTrainingRun
from spark_ctr.rows.training_data import TrainingColumns
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.params import (
    HasFeatures,
    HasInvalid,
    HasLabel,
    HasPredictions,
    HasRandomSeed,
)
from spark_ctr.training.precision_context import PRECISIONS
from spark_ctr.training.rowwise import OPTIMIZERS
from spark_ctr.training.schedule import SCHEDULES
from spark_ctr.training.settings import TrainingSettings


class CTRParams(
    HasFeatures,
    HasLabel,
    HasNetwork,
    HasTrainingRun,
    HasPredictions,
    HasInvalid,
    HasRandomSeed,
):
    """Params that a CTR classifier and its model share."""

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
    learningRate = param(
        "learningRate",
        "of AdamW; the optimizer of the embedding tables takes it, or a multiple of it",
        number("learningRate", float, above=0.0),
        1e-3,
    )
    optimizer = param(
        "optimizer",
        "of the embedding tables, a step size for each row: 'adam', or 'adagrad', whose steps "
        "start longer and only ever shrink; the rest is trained with AdamW",
        one_of("optimizer", *OPTIMIZERS),
        "adam",
    )
    learningRateDecay = param(
        "learningRateDecay",
        "factor on the learning rate after an epoch without improvement, for "
        "learningRateSchedule='plateau'",
        number("learningRateDecay", float, above=0.0, at_most=1.0),
        0.5,
    )
    learningRateSchedule = param(
        "learningRateSchedule",
        "learning rate over the steps: 'plateau' falls by learningRateDecay after an epoch without "
        "improvement, 'cosine' and 'linear' fall to 0 over maxIter epochs, 'constant' stays",
        one_of("learningRateSchedule", *SCHEDULES),
        "plateau",
    )
    warmupSteps = param(
        "warmupSteps",
        "steps over which the learning rate first rises linearly",
        number("warmupSteps", int, at_least=0),
        0,
    )
    weightDecay = param(
        "weightDecay",
        "decoupled weight decay of all matrices but the embeddings",
        number("weightDecay", float, at_least=0.0),
        0.0,
    )
    embeddingRegularization = param(
        "embeddingRegularization",
        "L2 penalty of the embedding rows at every step, applied when a row is looked up next",
        number("embeddingRegularization", float, at_least=0.0),
        0.05,
    )
    weightAveraging = param(
        "weightAveraging",
        "validate and keep an average of the weights over the last of the steps so far instead of "
        "those after the last step; takes the memory of the tables once more",
        TypeConverters.toBoolean,
        True,
    )
    batchSize = param(
        "batchSize",
        "rows a step, of all workers together",
        number("batchSize", int, at_least=1),
        1024,
    )
    maxIter = param("maxIter", "most epochs", number("maxIter", int, at_least=1), 20)
    patience = param(
        "patience",
        "stop after this many epochs without a better validation figure",
        number("patience", int, at_least=1),
        3,
    )
    monitor = param(
        "monitor",
        "validation figure that chooses the best epoch: 'auc' or 'log_loss'",
        one_of("monitor", "auc", "log_loss"),
        "auc",
    )
    recalibrate = param(
        "recalibrate",
        "after training, fit slope and offset of the logit to the validation rows, and keep them "
        "where they help rows that they were not fitted to; ranking stays",
        TypeConverters.toBoolean,
        True,
    )
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
    device = param(
        "device",
        "'cpu', 'cuda', or 'auto' (a GPU where the driver has one)",
        one_of("device", "auto", "cpu", "cuda"),
        "auto",
    )
    precision = param(
        "precision",
        "of the products of matrices in training: 'float32', 'bfloat16', or 'auto' (bfloat16 on "
        "GPUs and CPUs with instructions for it)",
        one_of("precision", *PRECISIONS),
        "auto",
    )

    def training_settings(self) -> TrainingSettings:
        """Return the settings for ``training.train``."""
        return TrainingSettings(
            learning_rate=self.getLearningRate(),
            optimizer=self.getOptimizer(),
            batch_size=self.getBatchSize(),
            max_epochs=self.getMaxIter(),
            patience=self.getPatience(),
            weight_decay=self.getWeightDecay(),
            embedding_l2=self.getEmbeddingRegularization(),
            learning_rate_decay=self.getLearningRateDecay(),
            schedule=self.getLearningRateSchedule(),
            warmup_steps=self.getWarmupSteps(),
            average_weights=self.getWeightAveraging(),
            monitor=self.getMonitor(),
            recalibrate=self.getRecalibrate(),
            seed=self.getSeed(),
            device=self.getDevice(),
            precision=self.getPrecision(),
        )

    def training_columns(self) -> TrainingColumns:
        """Columns and split for ``stage.training_data``."""
        return TrainingColumns(
            label=self.getLabelCol(),
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
            positive_label=self._value("positiveLabel"),
        )
