"""CalibrationEvaluator: whether predicted click probabilities are true frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.ml.evaluation import Evaluator
from pyspark.ml.param import TypeConverters
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.evaluation.score_cells import (
    ScoreCells,
    binned_field_error,
    cell_columns,
    log_loss,
    mean_variance_error,
    sums,
)
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import check_distinct, column, field
from spark_ctr.stage.labels import LABEL_TYPES, click_label, unusual_labels
from spark_ctr.stage.params import HasLabel, HasRandomSeed
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.scores import SCORE_TYPES, SLOT_TYPES, score
from spark_ctr.stage.session import check_running

METRICS = (
    "expectedCalibrationError",
    "calibrationRatio",
    "logLoss",
    "normalizedEntropy",
    "coxIntercept",
    "coxSlope",
    "fieldECE",
    "fieldRCE",
    "binnedFieldECE",
    "MVCE",
)
_FIELD_METRICS = ("fieldECE", "fieldRCE", "binnedFieldECE")


class _CalibrationParams(HasLabel, HasRandomSeed):
    probabilityCol = param(
        "probabilityCol",
        "vector column of the two class probabilities, or numeric column of that of a click",
        TypeConverters.toString,
        "probability",
    )
    metricName = param(
        "metricName",
        "'expectedCalibrationError' (best 0), 'calibrationRatio' (best 1), 'logLoss' (nats), "
        "'normalizedEntropy' (below 1), 'coxIntercept' (best 0), 'coxSlope' (best 1), 'MVCE' (best "
        "0), and of slotCols 'fieldECE', 'fieldRCE' and 'binnedFieldECE' (best 0)",
        one_of("metricName", *METRICS),
        "expectedCalibrationError",
    )
    numBins = param(
        "numBins",
        "bins of equal width over [0, 1] for the expected calibration error",
        number("numBins", int, at_least=1),
        100,
    )
    slotCols = param(
        "slotCols",
        "columns whose values, together, name a row's slot, for the metrics of slots (string, "
        "integral, boolean or date); rows with nulls are slots too",
        TypeConverters.toListString,
    )
    numSlotBins = param(
        "numSlotBins",
        "equally frequent bins of scores inside each slot for binnedFieldECE",
        number("numSlotBins", int, at_least=1),
        5,
    )
    numParts = param(
        "numParts",
        "random parts of the rows for MVCE",
        number("numParts", int, at_least=1),
        2000,
    )
    numShuffles = param(
        "numShuffles", "shuffles for MVCE", number("numShuffles", int, at_least=1), 5
    )


class CalibrationEvaluator(_CalibrationParams, PersistentStage, Evaluator):
    """Compare predicted click probabilities with what was observed.

    ``expectedCalibrationError`` is the sum over ``numBins`` bins of equal width of (share of rows)
    * abs(mean probability - click rate). Click rates crowd near 0, so that few wide bins would
    hide most of the error: hence 100 by default. ``calibrationRatio`` is the sum of probabilities
    over the number of clicks, also called PCOC; nan without a click. ``logLoss`` is the mean
    negative log-likelihood with probabilities clipped to [1e-15, 1 - 1e-15], ``normalizedEntropy``
    that over the loss of the click rate. ``coxIntercept`` and ``coxSlope`` are those of a logistic
    regression of the labels on the scores' log-odds, from sums of 512 bins; nan where they are not
    determined.

    Of slots k (``slotCols``) with N_k of N rows, P_k predicted and Y_k observed clicks,
    ``fieldECE`` is sum_k abs(P_k - Y_k) / N, ``fieldRCE`` sum_k N_k abs(P_k - Y_k) / Y_k / N over
    slots that have clicks, and ``binnedFieldECE``, F-ECE@m, is fieldECE with ``numSlotBins``
    equally frequent bins of scores in each slot for slots. ``MVCE`` deals the rows into
    ``numParts`` random parts, ``numShuffles`` times, and is the root of the mean square, over the
    shuffles, of the mean distance of a part's click rate from its mean probability.

    ``isLargerBetter`` is False. A calibration ratio and Cox's numbers are not best at their
    smallest, so do not choose a model by them.

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

    def measureSlots(self, dataset: DataFrame) -> dict[str, Any]:
        """All metrics that sums give, of all rows and of each slot, from one pass.

        Returns
        -------
        dict
            "overall": a float for each of the metric names but binnedFieldECE and MVCE, rows,
            clicks and the reliability curve, as of :meth:`reliability`. "slots": a list of dict,
            one a slot: slot (list of its values as texts), and the same but for the metrics of
            slots.

        Raises
        ------
        ValueError
            If slotCols is unset; see also :meth:`evaluate`.
        """
        cells = self._cells(dataset, self._slot_columns(needed="measureSlots"))
        slots = [
            {"slot": list(name), **numbers, "reliability": cells.curve(index)}
            for index, (name, numbers) in enumerate(zip(cells.names, cells.by_slot(), strict=True))
        ]
        overall = cells.overall() | cells.field_errors() | {"reliability": cells.curve()}
        return {"overall": overall, "slots": slots}

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
        name = self.getMetricName()
        if name in ("expectedCalibrationError", "calibrationRatio", "logLoss"):
            return self.measure(dataset)[name]
        slots = self._slot_columns(needed=name) if name in _FIELD_METRICS else []
        cells = self._cells(dataset, slots)
        if name == "binnedFieldECE":
            scored = self._scored(dataset, slots)
            return binned_field_error(scored, _named(slots), self.getNumSlotBins())
        if name == "MVCE":
            parts = self.getNumParts(), self.getNumShuffles(), self.getSeed()
            return mean_variance_error(self._scored(dataset, []), *parts)
        return (cells.overall() | cells.field_errors())[name]

    def _slot_columns(self, needed: str) -> list[str]:
        found = self._value("slotCols")
        if not found:
            raise ValueError(f"CalibrationEvaluator: {needed} needs slotCols, the slots' columns")
        return found

    def _scored(self, dataset: DataFrame, slots: Sequence[str]) -> DataFrame:
        """Label y, score p (null where not in [0, 1]) and texts of slots."""
        check_running(dataset)
        label, probability = self.getLabelCol(), self.getProbabilityCol()
        field(dataset, label, "labelCol", LABEL_TYPES)
        field(dataset, probability, "probabilityCol", SCORE_TYPES)
        for name in slots:
            field(dataset, name, "slotCols", SLOT_TYPES)
        check_distinct(dataset, slots, "slotCols")
        positive = self._value("positiveLabel")
        return dataset.select(
            click_label(dataset, label, positive, "CalibrationEvaluator").alias("y"),
            score(dataset, probability).alias("p"),
            *[
                column(name).cast("string").alias(new)
                for name, new in zip(slots, _named(slots), strict=True)
            ],
        )

    def _cells(self, dataset: DataFrame, slots: Sequence[str]) -> ScoreCells:
        """Sum up by slot, bin of equal width and bin of log-odds."""
        bins = cell_columns(self.getNumBins())
        return ScoreCells.of(self._sums(dataset, slots, bins), _named(slots))

    def _bins(self, dataset: DataFrame) -> list[Any]:
        """Rows, predicted and observed clicks and summed loss of each bin, in one pass."""
        found = self._sums(dataset, [], cell_columns(self.getNumBins())[:1])
        return sorted(found, key=lambda row: row["bin"])

    def _sums(self, dataset: DataFrame, slots: Sequence[str], bins: list[Column]) -> list[Any]:
        scored = self._scored(dataset, slots)
        valid = F.coalesce(F.col("y").isin(0.0, 1.0) & F.col("p").isNotNull(), F.lit(False))
        names = _named(slots)
        of_bins = scored.select("*", valid.alias("valid"), log_loss().alias("loss"), *bins)
        groups = [of_bins.columns[-len(bins) + i] for i in range(len(bins))]
        found = of_bins.groupBy(*names, "valid", *groups).agg(*sums()).collect()
        if not found:
            raise ValueError("CalibrationEvaluator: the dataset has no rows")
        invalid = sum(row["rows"] for row in found if not row["valid"])
        if invalid:
            label = self.getLabelCol()
            unusual = unusual_labels(dataset, label, self._value("positiveLabel"))
            raise ValueError(
                f"CalibrationEvaluator: {invalid} rows have a label in {label!r} other than 0 and "
                f"1, or a probability in {self.getProbabilityCol()!r} outside [0, 1]; drop or mend "
                "them" + (f"; {unusual}" if unusual else "")
            )
        return found


def _named(slots: Sequence[str]) -> list[str]:
    """Names of our own for the slots' columns."""
    return [f"slot_{index}" for index in range(len(slots))]
