"""Params that several stages share."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.ml.param import TypeConverters

from spark_ctr.settings import SEED
from spark_ctr.stage.base import Stage, number, one_of, param, setting_param
from spark_ctr.stage.labels import label_text

INVALID_CHOICES = ("error", "skip", "keep")


class HasLabel(Stage):
    """Mixin for the label column."""

    labelCol = param(
        "labelCol",
        "label column: numeric or boolean with the values 0 and 1, or one of two values, of which "
        "positiveLabel says which is a click",
        TypeConverters.toString,
        "label",
    )
    positiveLabel = param(
        "positiveLabel",
        "value of the label column that counts as 1, the other one being 0; unset: 1 or true, and "
        "of texts '1', 'yes', 'y', 'true' or 't' beside their opposites",
        label_text,
    )


class HasMainTask(Stage):
    """Mixin for which of several tasks has the plain output columns."""

    mainTask = param(
        "mainTask",
        "of several tasks, the one whose outputs also have the plain names, rawPredictionCol, "
        "probabilityCol and predictionCol, for evaluators and calibrators; unset: the first",
        TypeConverters.toString,
    )

    def main_task(self, tasks: Sequence[str]) -> int:
        """Return the number of the main task.

        Raises
        ------
        ValueError
        """
        name = self._value("mainTask")
        if name is None or len(tasks) == 1:
            return 0
        if name not in tasks:
            raise ValueError(f"mainTask is {name!r}, and the tasks are {', '.join(tasks)}")
        return list(tasks).index(name)


class HasInputs(Stage):
    """Mixin for the categorical columns a stage reads."""

    inputCols = param(
        "inputCols",
        "categorical columns (string, integral, boolean, date, decimal, or arrays of these, or "
        "floating-point of whole numbers only); unset: every column that an earlier spark_ctr "
        "stage marked as categorical",
        TypeConverters.toListString,
    )


class HasInvalid(Stage):
    """Mixin for what happens to invalid rows."""

    handleInvalid = param(
        "handleInvalid",
        "what to do with invalid rows: 'error' fails, 'skip' drops and counts them, "
        "'keep' treats the invalid value as missing",
        one_of("handleInvalid", *INVALID_CHOICES),
        "error",
    )


class HasRandomSeed(Stage):
    """Mixin for the random seed."""

    seed = setting_param("seed", SEED)


class HasVerbose(Stage):
    """Mixin for lines of progress."""

    verbose = param("verbose", "show progress on standard error", TypeConverters.toBoolean, True)


class HasFeatures(Stage):
    """Mixin for the two feature columns that HashedEmbeddingEncoder makes."""

    categoricalFeaturesCol = param(
        "categoricalFeaturesCol",
        "array<int> column of embedding rows, one per categorical column",
        TypeConverters.toString,
        "categoricalFeatures",
    )
    numericFeaturesCol = param(
        "numericFeaturesCol",
        "array<float> column of numeric features",
        TypeConverters.toString,
        "numericFeatures",
    )


class HasPredictions(Stage):
    """Mixin for the output columns of a classification model."""

    rawPredictionCol = param(
        "rawPredictionCol",
        "output vector of the two logits [-z, z]",
        TypeConverters.toString,
        "rawPrediction",
    )
    probabilityCol = param(
        "probabilityCol",
        "output vector of the two class probabilities",
        TypeConverters.toString,
        "probability",
    )
    predictionCol = param(
        "predictionCol",
        "output predicted class, 0.0 or 1.0",
        TypeConverters.toString,
        "prediction",
    )
    threshold = param(
        "threshold",
        "predict 1.0 when the probability of class 1 is above this; where clicks are rare "
        "nothing is above 0.5: take summary.threshold('f1') of a fitted model",
        number("threshold", float, at_least=0.0, at_most=1.0),
        0.5,
    )
