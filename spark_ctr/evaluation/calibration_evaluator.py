"""CalibrationEvaluator: whether predicted click probabilities are true frequencies."""

from __future__ import annotations

from typing import Any

from pyspark.ml.evaluation import Evaluator
from pyspark.ml.functions import vector_to_array
from pyspark.ml.linalg import VectorUDT
from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import column, field
from spark_ctr.stage.labels import LABEL_TYPES, click_label, unusual_labels
from spark_ctr.stage.params import HasLabel
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.session import check_running

METRICS = ("expectedCalibrationError", "calibrationRatio", "logLoss")
_CLIP = 1e-15


class _CalibrationParams(HasLabel):
    probabilityCol = param(
        "probabilityCol",
        "vector column of the two class probabilities",
        TypeConverters.toString,
        "probability",
    )
    metricName = param(
        "metricName",
        "'expectedCalibrationError' (best 0), 'calibrationRatio' (best 1) or 'logLoss' (nats)",
        one_of("metricName", *METRICS),
        "expectedCalibrationError",
    )
    numBins = param(
        "numBins",
        "bins of equal width over [0, 1] for the expected calibration error",
        number("numBins", int, at_least=1),
        100,
    )


class CalibrationEvaluator(_CalibrationParams, PersistentStage, Evaluator):
    """Compare predicted click probabilities with what was observed.

    ``expectedCalibrationError`` is the sum over ``numBins`` bins of equal width of (share of rows)
    * abs(mean probability - click rate). Click rates crowd near 0, so that few wide bins would
    hide most of the error: hence 100 by default. ``calibrationRatio`` is the sum of probabilities
    over the number of clicks, also called PCOC; nan without a click. ``logLoss`` is the mean
    negative log-likelihood with probabilities clipped to [1e-15, 1 - 1e-15].

    ``isLargerBetter`` is False. A calibration ratio is best at 1 and not at its smallest, so do
    not choose a model by it.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """

    def isLargerBetter(self) -> bool:
        """Smaller is better."""
        return False

    def reliability(self, dataset: DataFrame) -> list[dict[str, Any]]:
        """Points of the reliability curve, one a bin that has rows.

        Returns
        -------
        list of dict
            mean_probability, rate (of clicks) and rows, by increasing probability.

        Raises
        ------
        ValueError
            See :meth:`evaluate`.
        """
        return self.measure(dataset)["reliability"]

    def measure(self, dataset: DataFrame) -> dict[str, Any]:
        """All metrics and the reliability curve from one pass.

        Returns
        -------
        dict
            A float for each of the metric names, rows and clicks (int), and reliability.

        Raises
        ------
        ValueError
            See :meth:`evaluate`.
        """
        bins = self._bins(dataset)
        rows, predicted, clicks, loss = (
            sum(row[name] for row in bins) for name in ("rows", "predicted", "clicks", "loss")
        )
        return {
            "rows": rows,
            "clicks": int(clicks),
            "expectedCalibrationError": sum(abs(b["predicted"] - b["clicks"]) for b in bins) / rows,
            "calibrationRatio": predicted / clicks if clicks else float("nan"),
            "logLoss": loss / rows,
            "reliability": [
                {
                    "mean_probability": b["predicted"] / b["rows"],
                    "rate": b["clicks"] / b["rows"],
                    "rows": b["rows"],
                }
                for b in bins
            ],
        }

    def _evaluate(self, dataset: DataFrame) -> float:
        return self.measure(dataset)[self.getMetricName()]

    def _bins(self, dataset: DataFrame) -> list[Any]:
        """Rows, predicted and observed clicks and summed loss of each bin, in one pass."""
        check_running(dataset)
        label, probability = self.getLabelCol(), self.getProbabilityCol()
        field(dataset, label, "labelCol", LABEL_TYPES)
        field(dataset, probability, "probabilityCol", (VectorUDT,))
        positive = self._value("positiveLabel")
        scored = dataset.select(
            click_label(dataset, label, positive, "CalibrationEvaluator").alias("y"),
            # vector_to_array fails on null; get gives null for a vector without a second element.
            F.when(
                column(probability).isNotNull(),
                F.get(vector_to_array(column(probability)), 1),
            ).alias("p"),
        )
        y, p = F.col("y"), F.col("p")
        # Spark orders nan above every number, so that <= 1 also refuses it.
        valid = F.coalesce(y.isin(0.0, 1.0) & (p >= 0.0) & (p <= 1.0), F.lit(False))
        clipped = F.greatest(F.least(p, F.lit(1.0 - _CLIP)), F.lit(_CLIP))
        bin_ = F.least(F.floor(p * self.getNumBins()), F.lit(self.getNumBins() - 1))
        found = (
            scored.select(
                F.when(valid, bin_).alias("bin"),
                "y",
                "p",
                (-F.when(y == 1.0, F.log(clipped)).otherwise(F.log1p(-clipped))).alias("loss"),
            )
            .groupBy("bin")
            .agg(
                F.count(F.lit(1)).alias("rows"),
                F.sum("p").alias("predicted"),
                F.sum("y").alias("clicks"),
                F.sum("loss").alias("loss"),
            )
            .collect()
        )
        if not found:
            raise ValueError("CalibrationEvaluator: the dataset has no rows")
        invalid = sum(row["rows"] for row in found if row["bin"] is None)
        if invalid:
            unusual = unusual_labels(dataset, label, positive)
            raise ValueError(
                f"CalibrationEvaluator: {invalid} rows have a label in {label!r} other than 0 and "
                f"1, or a probability in {probability!r} outside [0, 1]; drop or mend them"
                + (f"; {unusual}" if unusual else "")
            )
        return sorted(found, key=lambda row: row["bin"])
