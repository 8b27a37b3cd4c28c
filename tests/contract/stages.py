"""The stages under contract: a stage enters every check of this folder by being listed here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from click_rows import Break
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.calibration import ProbabilityCalibrator, ProbabilityCalibratorModel
from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.feature import (
    ClickLogCleaner,
    ClickLogCleanerModel,
    HashedEmbeddingEncoder,
    HashedEmbeddingEncoderModel,
    PowerLawFeatureSelector,
    PowerLawFeatureSelectorModel,
)
from spark_ctr.multitask import MultiTaskClassificationModel, MultiTaskClassifier
from spark_ctr.quantization import MixedPrecisionQuantizer, QuantizedCTRClassificationModel

Names = Callable[[str], str]


@dataclass(frozen=True)
class Reads:
    """A column that a stage reads: the Param that names it and a type that it must refuse."""

    param: str
    column: str
    wrong: str
    in_transform: bool = True
    in_fit: bool = True


@dataclass(frozen=True)
class Case:
    """A stage, and all that the checks must know of it.

    Attributes
    ----------
    make : function of Names
        The stage with small, fast settings; it takes a renaming of its columns.
    model : type
        Class of the fitted model.
    data : str
        Name of the dataset it is fitted on, a field of ``click_rows.ClickRows``.
    reads : tuple of Reads
    adds : tuple of (Param, column)
        Output columns, and the Param that renames them.
    nullable, text : tuple of str
        Columns that may be null throughout; those that hold free text.
    breaks : tuple of Break
        What makes rows invalid for the stage.
    policy : function of (stage or model, policy)
        Sets ``handleInvalid`` where the stage keeps it.
    skipped_in_fit : function of the model
        How many rows fitting left out.
    fingerprint : function of the model
        What must be the same bit for bit when the same rows are fitted again.
    grid : function of the stage
        Two ParamMaps for cross-validation; of a meta-estimator, with a nested Param.
    single_class : str or None
        Part of the error for a label of one class; None for a stage without a label.
    nested : tuple of (Param, function of Names)
        Params of a meta-estimator that take a fitted model, and the estimator to fit for it.
    spared, once : bool
        Whether another case is of its kind, so that most checks of it are for `make test-all`; or
        another one does all that it does, so that they are for one run of the contract.
    """

    make: Callable[[Names], Any]
    model: type
    data: str
    reads: tuple[Reads, ...]
    adds: tuple[tuple[str, str], ...]
    nullable: tuple[str, ...]
    text: tuple[str, ...]
    breaks: tuple[Break, ...]
    policy: Callable[[Any, str], Any]
    skipped_in_fit: Callable[[Any], int]
    grid: Callable[[Any], list[dict[Any, Any]]]
    fingerprint: Callable[[Any], Any] = lambda model: model._state()
    single_class: str | None = None
    nested: tuple[tuple[str, Callable[[Names], Any]], ...] = ()
    spared: bool = False
    once: bool = False
    check_values: Callable[[DataFrame, Any], None] = field(default=lambda out, model: None)

    @property
    def stage(self) -> type:
        """Class of the stage."""
        return type(self.make(str))

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.stage.__name__


def _own_policy(stage: Any, policy: str) -> Any:
    return stage.setHandleInvalid(policy)


def _cleaner(c: Names) -> ClickLogCleaner:
    return ClickLogCleaner(
        categoricalCols=[c("site"), c("device")],
        numericCols=[c("price")],
        timestampCol=c("time"),
        numBuckets=4,
    )


def _selector(c: Names) -> PowerLawFeatureSelector:
    return PowerLawFeatureSelector(
        inputCols=[c("site"), c("device")],
        labelCol=c("label"),
        budget=64,
        alternatives=["exponential"],
    )


def _encoder(c: Names) -> HashedEmbeddingEncoder:
    return HashedEmbeddingEncoder(
        inputCols=[c("site"), c("device")],
        numericCols=[c("price")],
        categoricalFeaturesCol=c("categoricalFeatures"),
        numericFeaturesCol=c("numericFeatures"),
        numBuckets=5,
        embeddingDim=4,
        handleInvalid="keep",
    )


def _classifier(c: Names, *, units: int = 8) -> CTRClassifier:
    return CTRClassifier(
        categoricalFeaturesCol=c("categoricalFeatures"),
        numericFeaturesCol=c("numericFeatures"),
        labelCol=c("label"),
        weightCol=c("weight"),
        rawPredictionCol=c("rawPrediction"),
        probabilityCol=c("probability"),
        predictionCol=c("prediction"),
        network="dnn",
        hiddenLayers=[units, units],
        batchSize=32,
        maxIter=1,
        validationFraction=0.25,
        learningRate=0.01,
        device="cpu",
        verbose=False,
    )


def _multi_task(c: Names) -> MultiTaskClassifier:
    return MultiTaskClassifier(
        categoricalFeaturesCol=c("categoricalFeatures"),
        numericFeaturesCol=c("numericFeatures"),
        labelCols=[c("label"), c("held_out")],
        tasks={c("held_out"): {"name": "later", "weight": 0.5}},
        weightCol=c("weight"),
        rawPredictionCol=c("rawPrediction"),
        probabilityCol=c("probability"),
        predictionCol=c("prediction"),
        mainTask=c("label"),
        network="shared_bottom",
        hiddenLayers=[4],
        networkOptions={"tower_layers": [3]},
        batchSize=32,
        maxIter=1,
        validationFraction=0.25,
        learningRate=0.01,
        device="cpu",
        verbose=False,
    )


def _distiller(c: Names) -> LayerwiseDistiller:
    return LayerwiseDistiller(
        teacher=_classifier(c),
        student=_classifier(c, units=4),
        hiddenWeight=0.1,
        hiddenEpochs=1,
        recombine=False,
        compareWithLabels=False,
    )


def _quantizer(c: Names) -> MixedPrecisionQuantizer:
    return MixedPrecisionQuantizer(
        classifier=_classifier(c), maxIter=1, tolerance=1.0, lossTolerance=1e9
    )


def _calibrator(c: Names) -> ProbabilityCalibrator:
    return ProbabilityCalibrator(
        probabilityCol=c("score"),
        calibratedCol=c("calibratedProbability"),
        labelCol=c("label"),
        weightCol=c("weight"),
        slotCols=[c("site"), c("device")],
        numBins=32,
        verbose=False,
    )


def _nested_policy(name: str) -> Callable[[Any, str], Any]:
    def set_policy(stage: Any, policy: str) -> Any:
        if stage.hasParam("handleInvalid"):
            return stage.setHandleInvalid(policy)
        stage.getOrDefault(name).setHandleInvalid(policy)
        return stage

    return set_policy


def _finite_features(out: DataFrame, model: Any) -> None:
    """Ids lie in their tables, numbers are finite."""
    for row in out.select("categoricalFeatures", "numericFeatures").collect():
        ids, numbers = row
        sizes = [t["rows"] for t in model.tables for _ in range(t.get("slots", 1))]
        assert all(0 <= i < size for i, size in zip(ids, sizes, strict=True))
        assert all(abs(n) < float("inf") for n in numbers)


def _finite_prices(out: DataFrame, model: Any) -> None:
    """Cleaned prices are finite numbers."""
    bad = F.col("price_clean").isNull() | ~(F.abs("price_clean") < float("inf"))
    assert out.filter(bad).count() == 0


def _probabilities(out: DataFrame, model: Any) -> None:
    """Probabilities lie between 0 and 1 and sum to 1; predictions follow from the threshold."""
    for probability, prediction in out.select("probability", "prediction").collect():
        assert all(0.0 <= p <= 1.0 for p in probability)
        assert abs(sum(probability) - 1.0) < 1e-12
        assert prediction == float(probability[1] > model.getThreshold())


def _calibrated(out: DataFrame, model: Any) -> None:
    """Calibrated probabilities lie between 0 and 1; without a valid score there is none."""
    for given, found in out.select("score", "calibratedProbability").collect():
        valid = given is not None and 0.0 <= given <= 1.0
        assert (found is not None) == valid
        assert not valid or 0.0 < found < 1.0


def _several_probabilities(out: DataFrame, model: Any) -> None:
    """The main task's outputs are probabilities, and those of its name."""
    _probabilities(out, model)
    for row in out.select("probability", "probability_label", "probability_later").collect():
        plain, own, other = row
        assert plain == own
        assert all(0.0 <= p <= 1.0 for p in other)


_FEATURES = {
    "param_ids": Reads("categoricalFeaturesCol", "categoricalFeatures", "array<string>"),
    "param_numbers": Reads("numericFeaturesCol", "numericFeatures", "string"),
    "label": Reads("labelCol", "label", "array<double>", in_transform=False),
    "weight": Reads("weightCol", "weight", "boolean", in_transform=False),
}
_PREDICTIONS = (
    ("rawPredictionCol", "rawPrediction"),
    ("probabilityCol", "probability"),
    ("predictionCol", "prediction"),
)
_BAD_LABELS = Break(
    "labels",
    {"label": ["null", "2", "-1"]},
    in_transform=False,
    keep_in_fit=False,
)
_BAD_WEIGHTS = Break(
    "weights",
    {"weight": ["null", "-1", "double('nan')", "double('inf')"]},
    in_transform=False,
    keep_in_fit=False,
)
_BAD_FEATURES = Break(
    "features",
    {
        "categoricalFeatures": [
            "null",
            "array()",
            "array(0, 0)",
            "array(0, 0, 0, 1000000)",
            "array(-1, 0, 0, 0)",
            "array(cast(null as int), 0, 0, 0)",
        ],
        "numericFeatures": ["null", "array()", "array(float('nan'))", "array(float('inf'))"],
    },
)


def _ctr_case(make: Callable[[Names], Any], model: type, owner: str, **more: Any) -> Case:
    return Case(
        make=make,
        model=model,
        data="encoded",
        reads=tuple(_FEATURES.values()),
        adds=_PREDICTIONS,
        nullable=("categoricalFeatures", "numericFeatures"),
        text=(),
        breaks=(_BAD_LABELS, _BAD_WEIGHTS, _BAD_FEATURES),
        policy=_nested_policy(owner),
        skipped_in_fit=lambda fitted: fitted.summary.skipped,
        fingerprint=lambda fitted: fitted.to_bytes(),
        single_class="label",
        check_values=_probabilities,
        **more,
    )


CASES = [
    Case(
        make=_cleaner,
        model=ClickLogCleanerModel,
        data="raw",
        reads=(
            Reads("categoricalCols", "site", "array<double>"),
            Reads("numericCols", "price", "string"),
            Reads("timestampCol", "time", "boolean"),
        ),
        adds=(
            ("outputSuffix", "site_clean"),
            ("outputSuffix", "price_clean"),
            ("outputSuffix", "price_bucket_clean"),
            ("outputSuffix", "time_hour_clean"),
        ),
        nullable=("site", "price", "time"),
        text=("site",),
        breaks=(
            Break("prices", {"price": ["double('nan')", "double('inf')", "double('-inf')"]}),
            Break("times", {"time": ["'yesterday'"]}, cast={"time": "string"}),
        ),
        policy=_own_policy,
        skipped_in_fit=lambda model: model.skippedInFit,
        grid=lambda stage: [{stage.numBuckets: 2}, {stage.numBuckets: 4}],
        check_values=_finite_prices,
    ),
    Case(
        make=_selector,
        model=PowerLawFeatureSelectorModel,
        data="raw",
        reads=(
            Reads("inputCols", "site", "array<double>"),
            Reads("labelCol", "label", "array<double>", in_transform=False),
        ),
        adds=(),
        nullable=("site",),
        text=("site",),
        breaks=(Break("labels", {"label": ["null", "2", "-1"]}, in_transform=False),),
        policy=_own_policy,
        skipped_in_fit=lambda model: model.invalidLabels,
        grid=lambda stage: [{stage.budget: 32}, {stage.budget: 64}],
        single_class="label",
    ),
    Case(
        make=_encoder,
        model=HashedEmbeddingEncoderModel,
        data="raw",
        reads=(
            Reads("inputCols", "site", "array<double>"),
            Reads("numericCols", "price", "string"),
        ),
        adds=(
            ("categoricalFeaturesCol", "categoricalFeatures"),
            ("numericFeaturesCol", "numericFeatures"),
        ),
        nullable=("site", "price"),
        text=("site",),
        breaks=(
            Break(
                "prices",
                {"price": ["null", "double('nan')", "double('inf')", "double(1e300)"]},
                cleared={"price": "1.0"},
                in_fit=False,
            ),
        ),
        policy=_own_policy,
        skipped_in_fit=lambda model: 0,
        grid=lambda stage: [{stage.numBuckets: 2}, {stage.numBuckets: 5}],
        check_values=_finite_features,
    ),
    Case(
        make=_calibrator,
        model=ProbabilityCalibratorModel,
        data="scored",
        reads=(
            Reads("probabilityCol", "score", "string"),
            Reads("slotCols", "site", "array<double>"),
            Reads("labelCol", "label", "array<double>", in_transform=False),
            Reads("weightCol", "weight", "boolean", in_transform=False),
        ),
        adds=(("calibratedCol", "calibratedProbability"),),
        nullable=("site", "device"),
        text=("site",),
        breaks=(
            _BAD_LABELS,
            _BAD_WEIGHTS,
            Break("scores", {"score": ["null", "double('nan')", "-0.1", "1.1"]}),
        ),
        policy=_own_policy,
        skipped_in_fit=lambda model: model.skippedInFit,
        grid=lambda stage: [{stage.method: "platt"}, {stage.slotMethod: "ratio"}],
        single_class="label",
        check_values=_calibrated,
    ),
    _ctr_case(
        _classifier,
        CTRClassificationModel,
        "",
        grid=lambda stage: [{stage.dropout: 0.0}, {stage.dropout: 0.5}],
        once=True,  # the quantiser trains one
    ),
    Case(
        make=_multi_task,
        model=MultiTaskClassificationModel,
        data="encoded",
        reads=(
            _FEATURES["param_ids"],
            _FEATURES["param_numbers"],
            Reads("labelCols", "label", "array<double>", in_transform=False),
            Reads("labelCols", "held_out", "array<double>", in_transform=False),
            _FEATURES["weight"],
        ),
        adds=_PREDICTIONS,
        nullable=("categoricalFeatures", "numericFeatures"),
        text=(),
        breaks=(
            Break("labels", {"label": ["2", "-1"]}, in_transform=False, keep_in_fit=False),
            _BAD_WEIGHTS,
            _BAD_FEATURES,
        ),
        policy=_own_policy,
        skipped_in_fit=lambda fitted: fitted.summary.skipped,
        fingerprint=lambda fitted: fitted.to_bytes(),
        single_class="label",
        check_values=_several_probabilities,
        grid=lambda stage: [{stage.dropout: 0.0}, {stage.dropout: 0.5}],
    ),
    _ctr_case(
        _distiller,
        CTRClassificationModel,
        "student",
        grid=lambda stage: [
            {stage.logitWeight: 0.0, stage.getStudent().learningRate: 0.1},
            {stage.logitWeight: 1.0, stage.getStudent().learningRate: 0.01},
        ],
        nested=(("teacher", _classifier),),
        spared=True,
    ),
    _ctr_case(
        _quantizer,
        QuantizedCTRClassificationModel,
        "classifier",
        grid=lambda stage: [
            {stage.binaryShare: 0.0, stage.getClassifier().learningRate: 0.1},
            {stage.binaryShare: 1.0, stage.getClassifier().learningRate: 0.01},
        ],
        nested=(("classifier", _classifier),),
    ),
]

# Those that predict, and so can be cross-validated by themselves.
ALONE = [case for case in CASES if case.data == "encoded"]


def sparing(rows: Iterable[Any], spared: Callable[..., bool] | None = None) -> list[Any]:
    """Return parameters of tests, cases or tuples that begin with one; the spared ones are full.

    Parameters
    ----------
    rows : iterable of Case or tuple
    spared : function of a row's parts, or None
        Which rows are spared, besides those of cases that always are.
    """
    found = []
    for row in rows:
        parts = row if isinstance(row, tuple) else (row,)
        full = parts[0].spared or (spared is not None and spared(*parts))
        marks = [pytest.mark.full] * full + [pytest.mark.once] * parts[0].once
        found.append(pytest.param(*parts, marks=marks))
    return found


def breaks(where: str) -> list[Any]:
    """Return cases and their breaks of fit or transform; a nested stage's are those of features."""
    rows = [(case, b) for case in CASES for b in case.breaks if getattr(b, f"in_{where}")]
    return sparing(rows, lambda case, broken: bool(case.nested) and broken is not _BAD_FEATURES)


# Stages that are neither fitted nor transform: their Params and their files are under contract.
PARAMS_ONLY: list[Callable[[], Any]] = []
if importlib.util.find_spec("spark_ctr.evaluation.calibration_evaluator"):
    from spark_ctr.evaluation.calibration_evaluator import CalibrationEvaluator

    PARAMS_ONLY.append(CalibrationEvaluator)
if importlib.util.find_spec("spark_ctr.auction"):
    from spark_ctr.auction import AuctionEvaluator

    PARAMS_ONLY.append(AuctionEvaluator)

CLASSES: list[type] = [*dict.fromkeys([c.stage for c in CASES] + [c.model for c in CASES])]
CLASSES += PARAMS_ONLY


def nested_params(stage: Any) -> list[str]:
    """Return the Params of a stage that hold a stage."""
    return [name for name in getattr(stage, "_nested_params", ()) if stage.isSet(name)]


# A valid value of every Param that has no default, by name, or by stage and name.
VALUES: dict[str, Any] = {
    "truthCol": "truth",
    "conversionProbabilityCol": "converts",
    "conversionTruthCol": "truly",
    "inputCols": ["site"],
    "numericCols": ["price"],
    "timestampCol": "time",
    "orderCol": "time",
    "positiveLabel": "1",
    "weightCol": "weight",
    "validationIndicatorCol": "held_out",
    "validationTimeCol": "time",
    "cacheDir": "/tmp",
    "checkpointDir": "/tmp",
    "tensorBoardDir": "/tmp",
    "hiddenLayers": [8],
    "crossLayers": 1,
    "contextEnhancement": "senet",
    "contextCols": ["site"],
    "dropout": 0.1,
    "batchNorm": False,
    "embeddingDim": 2,
    "recombine": True,
    "columnGroups": [["site", "ad"]],
    "targetLatency": 2.0,
    "targetShare": 0.1,
    "maxBytes": 1000,
    "LayerwiseDistiller.maxIter": 3,
    "clipNorm": 1.0,
    "teacher": _classifier(str),
    "student": _classifier(str),
    "classifier": _classifier(str),
    "HashedEmbeddingEncoder.initialModel": HashedEmbeddingEncoderModel(),
    "ProbabilityCalibrator.initialModel": ProbabilityCalibratorModel(),
    "slotCols": ["site"],
    "calibrationIndicatorCol": "held_out",
    "CTRClassifier.initialModel": CTRClassificationModel(),
    "MultiTaskClassifier.initialModel": MultiTaskClassificationModel(),
    "mainTask": "label",
    "jointTask": "both",
    "monitorTask": "label",
}
