"""Params of ProbabilityCalibrator, and checks of the columns that they name."""

from __future__ import annotations

from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame

from spark_ctr.calibration_curves import METHODS, SLOT_METHODS
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import check_distinct, check_new, field
from spark_ctr.stage.params import HasInvalid, HasLabel
from spark_ctr.stage.scores import SCORE_TYPES, SLOT_TYPES


class CalibratorParams(HasLabel, HasInvalid):
    """Params that estimator and model share."""

    probabilityCol = param(
        "probabilityCol",
        "scores to calibrate: a vector column of the two class probabilities, of which the second "
        "one counts, or a numeric column in [0, 1]",
        TypeConverters.toString,
        "probability",
    )
    calibratedCol = param(
        "calibratedCol",
        "output calibrated probability, a vector of two where the scores are, else a double",
        TypeConverters.toString,
        "calibratedProbability",
    )
    slotCols = param(
        "slotCols",
        "columns whose values, together, name the slot (string, integral, boolean or date); a row "
        "with a null in one has no slot; unset: one curve for all rows",
        TypeConverters.toListString,
    )
    weightCol = param(
        "weightCol",
        "column of row weights, at least 0; unset: every row counts as 1",
        TypeConverters.toString,
    )
    calibrationIndicatorCol = param(
        "calibrationIndicatorCol",
        "boolean column that is true for the rows to calibrate on, which the model that made the "
        "scores must not have been trained on; unset: as calibrationRows says",
        TypeConverters.toString,
    )
    calibrationRows = param(
        "calibrationRows",
        "'heldOut': the rows that the spark_ctr model behind the scores held out of its training "
        "(its validation rows), found again in the dataset that it was fitted on; of other scores "
        "all, with a warning. 'all': all rows, none of which that model must have seen",
        one_of("calibrationRows", "heldOut", "all"),
        "heldOut",
    )
    method = param(
        "method",
        "the curve of all rows: 'isotonic', 'histogram' (isotonic of about 20 groups of equal "
        "size), 'platt' (slope and offset in log-odds), 'temperature' (slope) or 'beta' (two "
        "slopes and offset)",
        one_of("method", *METHODS),
        "isotonic",
    )
    slotMethod = param(
        "slotMethod",
        "what a slot has of its own: 'platt' (slope and offset in log-odds), 'ratio' (a factor of "
        "its clicks), both shrunk towards the curve of all rows, or 'none'",
        one_of("slotMethod", *SLOT_METHODS),
        "platt",
    )
    numBins = param(
        "numBins",
        "bins of equal width in log-odds, over [-16, 16], that rows are summed up in",
        number("numBins", int, at_least=8, at_most=4096),
        128,
    )
    forgetting = param(
        "forgetting",
        "factor of what initialModel has seen, for every fit: 1 forgets nothing, 0 all",
        number("forgetting", float, at_least=0.0, at_most=1.0),
        1.0,
    )

    def _slot_columns(self) -> list[str]:
        return self._value("slotCols") or []

    def _check(self, dataset: DataFrame) -> None:
        field(dataset, self.getProbabilityCol(), "probabilityCol", SCORE_TYPES)
        for name in self._slot_columns():
            field(dataset, name, "slotCols", SLOT_TYPES)
        check_distinct(dataset, self._slot_columns(), "slotCols")
        check_new(dataset, [self.getCalibratedCol()], "calibratedCol")
