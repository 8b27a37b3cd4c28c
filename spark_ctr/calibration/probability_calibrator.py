"""ProbabilityCalibrator: scores of any model to click probabilities, by slot."""

from __future__ import annotations

import logging
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.calibration.calibrated import calibrated
from spark_ctr.calibration.calibrator_state import CalibratorState
from spark_ctr.calibration.params import CalibratorParams
from spark_ctr.calibration.score_columns import log_odds, slot_key
from spark_ctr.calibration.slot_sums import SlotSums, sum_slots
from spark_ctr.calibration_curves import ScoreBins, SlotStatistics, fit_calibration
from spark_ctr.jvm import vector_of_two
from spark_ctr.rows.held_out import HELD_OUT, held_out_rows, missing_columns
from spark_ctr.stage.base import param
from spark_ctr.stage.columns import add_columns, column, field, field_of, metadata_of
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.fitting import StageEstimator, StageModel
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.labels import LABEL_TYPES, click_label, unusual_labels
from spark_ctr.stage.meta import stage_of
from spark_ctr.stage.params import HasVerbose
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.scores import is_vector, score

logger = logging.getLogger("spark_ctr")
# Of a slot that forgetting left with fewer rows, nothing of its own is known any more.
_LEAST_ROWS = 0.5


class ProbabilityCalibrator(CalibratorParams, HasVerbose, PersistentStage, StageEstimator):
    """Calibrate the click probabilities of any model, by slot.

    One pass sums the rows up by slot and score bin; the driver gets a row for each of these cells
    that has rows, and fits there. All rows give one curve (``method``). On top of it each slot has
    an offset and a slope in log-odds, or a ratio of its clicks (``slotMethod``), shrunk towards
    the curve as strongly as the spread of the slots suggests: a slot with few clicks stays near
    the curve, one with many gets what its clicks ask for. A slot never seen, or with a null in
    ``slotCols``, takes the curve; one without a click is shrunk as any other.

    The model adds ``calibratedCol`` and leaves scores and predictions as they are: a prediction
    made at a threshold is still that of the uncalibrated scores. The map is strictly increasing
    within a slot, so the AUC within a slot stays.

    It is fitted on rows that the model behind the scores was not trained on, or its overconfidence
    in them would be learned as right. Scores of a spark_ctr classifier tell which rows of its
    dataset it held out, by share, time or column, so that behind it in a ``Pipeline`` nothing has
    to be set. ``calibrationIndicatorCol`` names such rows for other scores. On a dataset that the
    classifier has not seen, set ``calibrationRows`` to "all". Where the stage cannot know, it
    warns.

    With ``initialModel``, an earlier fit, this fit goes on from its sums, each times
    ``forgetting``: an hourly refresh follows drift without reading the earlier rows again.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    Examples
    --------
    >>> calibrator = ProbabilityCalibrator(labelCol="click", slotCols=["slot"])  # doctest: +SKIP
    >>> model = calibrator.fit(scored)                                           # doctest: +SKIP
    >>> model.transform(scored).select("calibratedProbability").show()           # doctest: +SKIP

    References
    ----------
    Zadrozny and Elkan, KDD 2002 (isotonic); Platt, 1999; Guo et al., ICML 2017 (temperature); Kull
    et al., AISTATS 2017 (beta). The shrinkage of slots by empirical Bayes is this project's own.
    """

    _nested_params = ("initialModel",)

    initialModel = param(
        "initialModel",
        "fitted ProbabilityCalibratorModel to go on from: what it has seen counts, times "
        "forgetting, beside the rows of this fit",
        stage_of("initialModel", "ProbabilityCalibratorModel"),
    )

    def _doing(self, dataset: DataFrame) -> str:
        slots = self._slot_columns()
        return f"calibrating by {', '.join(slots)}" if slots else "calibrating all rows alike"

    def _done(self, model: ProbabilityCalibratorModel) -> str:
        facts, slots = model._fitted.facts, len(model._fitted.calibration.keys)
        return f"{counted(facts['rows'], 'row')}, {counted(slots, 'slot')}"

    def _fit(self, dataset: DataFrame) -> ProbabilityCalibratorModel:
        self._check(dataset)
        label, weight = self.getLabelCol(), self._value("weightCol")
        field(dataset, label, "labelCol", LABEL_TYPES)
        if weight is not None:
            field(dataset, weight, "weightCol", (T.NumericType,))
        initial = self._value("initialModel")
        if initial is not None:
            self._check_initial(initial)
        rows = self._calibration_rows(dataset)
        clicks = click_label(rows, label, self._value("positiveLabel"), "ProbabilityCalibrator")
        found = sum_slots(
            rows,
            score(rows, self.getProbabilityCol()),
            clicks,
            None if weight is None else column(weight).cast("double"),
            self._slot_columns(),
            ScoreBins(self.getNumBins()),
        )
        skipped = self._skipped(rows, found)
        names, statistics = found.names, found.statistics
        if initial is not None:
            names = initial._fitted.names | names
            statistics = statistics.merged(initial._fitted.statistics, self.getForgetting())
            statistics = statistics.without_faded(_LEAST_ROWS)
        self._check_both(found, statistics)
        state = CalibratorState(
            fit_calibration(statistics, self.getMethod(), self.getSlotMethod()),
            statistics,
            {int(key): names[int(key)] for key in statistics.keys},
            {"rows": found.rows, "ones": found.ones, "skipped": skipped},
        )
        model = ProbabilityCalibratorModel()._with(state)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _check_initial(self, initial: ProbabilityCalibratorModel) -> None:
        bins = initial._fitted.statistics.bins.count
        if bins != self.getNumBins():
            raise ValueError(
                f"numBins is {self.getNumBins()}, but {bins} in initialModel: set it to {bins}, or "
                "fit without initialModel"
            )
        before = initial._slot_columns()
        if len(before) != len(self._slot_columns()):
            raise ValueError(
                f"slotCols names {self._slot_columns()}, but {before} in initialModel: name as "
                "many, or fit without initialModel"
            )

    def _calibration_rows(self, dataset: DataFrame) -> DataFrame:
        indicator = self._value("calibrationIndicatorCol")
        if indicator is not None:
            field(dataset, indicator, "calibrationIndicatorCol", (T.BooleanType,))
            if self.isSet("calibrationRows"):
                raise ValueError(
                    f"ProbabilityCalibrator: calibrationIndicatorCol ({indicator!r}) and "
                    "calibrationRows both choose the rows: clear one of them"
                )
            return dataset.filter(column(indicator))
        if self.getCalibrationRows() == "all":
            return dataset
        scores = self.getProbabilityCol()
        rule = metadata_of(field_of(dataset, scores)).get(HELD_OUT)
        why = "says nothing of the rows that its model held out"
        if rule is not None:
            missing = missing_columns(dataset, rule)
            if rule["by"] != "nothing" and not missing:
                names = [self.getLabelCol(), scores, self._value("weightCol")]
                names = [name for name in names if name is not None] + self._slot_columns()
                return held_out_rows(dataset, rule, list(dict.fromkeys(names)))
            why = "is of a model that held no rows out (validationFraction=0)"
            if missing:
                why = (
                    "is of a model whose validation rows cannot be found without the columns "
                    f"{', '.join(missing)} as they were in its fit"
                )
        logger.warning(
            "ProbabilityCalibrator takes all rows, and cannot know whether they were trained on: "
            "%r %s. Name rows that were held out by calibrationIndicatorCol, or set "
            "calibrationRows='all' where the model has seen none",
            scores,
            why,
        )
        return dataset

    def _skipped(self, rows: DataFrame, found: SlotSums) -> int:
        bad = {name: count for name, count in found.invalid.items() if count}
        policy = self.getHandleInvalid()
        kept = policy == "keep" and not {"label", "weight"} & {*bad}
        if not bad or policy == "skip" or kept:
            return sum(bad.values())
        columns = {
            "label": f"a label in {self.getLabelCol()!r} that is null or not 0 or 1",
            "weight": f"a weight in {self._value('weightCol')!r} that is null, negative or not "
            "finite",
            "score": f"a score in {self.getProbabilityCol()!r} that is null or not in [0, 1]",
        }
        said = ", ".join(f"{counted(count, 'row')} with {columns[n]}" for n, count in bad.items())
        unusual = None
        if "label" in bad:
            unusual = unusual_labels(rows, self.getLabelCol(), self._value("positiveLabel"))
        raise ValueError(
            f"ProbabilityCalibrator: {said}; clean them or set handleInvalid='skip'"
            + (f"; {unusual}" if unusual else "")
        )

    def _check_both(self, found: SlotSums, statistics: SlotStatistics) -> None:
        """Refuse rows that have no rate to calibrate to."""
        indicator = self._value("calibrationIndicatorCol")
        weight, clicks = float(statistics.weight.sum()), float(statistics.clicks.sum())
        if not len(statistics.bin):
            which = f" with a true {indicator!r} (calibrationIndicatorCol)" if indicator else ""
            if not indicator and self.getCalibrationRows() == "heldOut":
                which = (
                    ", or none that the model behind the scores held out: set "
                    "calibrationRows='all' where it has seen none of them"
                )
            raise ValueError(f"ProbabilityCalibrator: the dataset has no rows{which}")
        if not 0 < clicks < weight:
            zeros, ones = found.rows - found.ones, found.ones
            by = f"label column {self.getLabelCol()!r} has {zeros} zeros and {ones} ones"
            if zeros and ones:
                name = self._value("weightCol")
                by = f"the weights in {name!r} (weightCol) are 0 for all zeros or all ones"
            raise ValueError(f"ProbabilityCalibrator: {by}; calibration needs both")


class ProbabilityCalibratorModel(CalibratorParams, PersistentStage, StageModel):
    """Fitted :class:`ProbabilityCalibrator`: adds the calibrated probability."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._rows = InvalidRows("ProbabilityCalibratorModel")
        self._with(CalibratorState())

    def _with(self, state: CalibratorState) -> ProbabilityCalibratorModel:
        self._fitted = state
        return self

    @property
    def slots(self) -> DataFrame:
        """One row a slot: its values, what was seen of it, offset and slope in log-odds."""
        state, names = self._fitted, self._slot_columns()
        statistics = state.statistics
        sums = [statistics.by_slot(v) for v in (statistics.rows, statistics.weight)]
        sums += [statistics.by_slot(v) for v in (statistics.clicks, statistics.predicted)]
        numbers = zip(*sums, state.calibration.offset, state.calibration.slope, strict=True)
        rows = [
            (*state.names[int(key)], *map(float, values))
            for key, values in zip(state.calibration.keys, numbers, strict=True)
        ]
        kinds = ("rows", "weight", "clicks", "predicted", "offset", "slope")
        fields = [T.StructField(name, T.StringType()) for name in names]
        fields += [T.StructField(name, T.DoubleType()) for name in kinds]
        return SparkSession.builder.getOrCreate().createDataFrame(rows, T.StructType(fields))

    @property
    def shrinkage(self) -> dict[str, float]:
        """What the slots' spread gave: deviations of offset and slope, or prior clicks."""
        return dict(self._fitted.calibration.shrinkage)

    @property
    def skippedInFit(self) -> int:
        """Rows that ``handleInvalid`` left out of fitting."""
        return self._fitted.facts["skipped"]

    @property
    def skippedRows(self) -> int:
        """Invalid rows of the dataset transformed last; counted by a job the first time."""
        return self._rows.count()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._check(dataset)
        name, slots = self.getProbabilityCol(), self._slot_columns()
        # Columns and not expressions, or Spark would work out the score wherever it is named.
        at, odds = f"__score_{self.uid}", f"__log_odds_{self.uid}"
        scored = add_columns(dataset, [score(dataset, name).alias(at)])
        found = column(at)
        scored = self._rows.apply(
            scored,
            found.isNull(),
            self.getHandleInvalid(),
            f"a score in {name!r} is null or not in [0, 1]",
            self.uid,
        )
        key = slot_key(slots) if slots else None
        scored = add_columns(scored, [log_odds(found).alias(odds)])
        p = calibrated(self._fitted.calibration, self._fitted.placement, column(odds), key)
        if is_vector(dataset, name):
            p = vector_of_two(dataset.sparkSession, 1.0 - p, p)
        if self.getHandleInvalid() == "keep":
            p = F.when(found.isNotNull(), p)
        return add_columns(scored, [p.alias(self.getCalibratedCol())]).drop(at, odds)

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return self._fitted.saved()

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._with(CalibratorState.restored(state, payload))
