"""Measure models beside each other on the same test rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow.fs
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.functions import vector_to_array
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.estimator.model import CTRModel
from spark_ctr.estimator.serving_time import microseconds_per_row
from spark_ctr.evaluation import CalibrationEvaluator
from spark_ctr.location import filesystem_of
from spark_ctr.rows.scored_batches import frame_features
from spark_ctr.rows.scoring import feature_elements
from spark_ctr.stage.columns import column
from spark_ctr.training.auc_uncertainty import Estimate, auc_estimate

TIMED_ROWS = 32_768
RELIABILITY_POINTS = 20
SLOTS, SLOT_POINTS = 50, 10
# Rows whose scores the driver takes at most, 16 bytes each.
RANKED_ROWS = 5_000_000


def quality(scored: DataFrame, label: str) -> dict[str, Any]:
    """AUC, log loss and calibration of scored rows.

    Parameters
    ----------
    scored : DataFrame
        With ``rawPrediction`` and ``probability``; persist it, two jobs read it.
    label : str

    Returns
    -------
    dict
        auc (exact) and auc_error (its standard error by DeLong; None for labels of one class),
        log_loss (nats), calibration_ratio, expected_calibration_error, reliability (at most 20
        points).
    """
    found = CalibrationEvaluator(labelCol=label).measure(scored)
    auc = _auc(scored, label, found["rows"]) if 0 < found["clicks"] < found["rows"] else None
    return {
        "auc": auc and auc.value,
        "auc_error": auc and auc.standard_error,
        "log_loss": found["logLoss"],
        "calibration_ratio": found["calibrationRatio"],
        "expected_calibration_error": found["expectedCalibrationError"],
        "reliability": merged(found["reliability"], RELIABILITY_POINTS),
    }


def constant_rate(train: DataFrame, test: DataFrame, label: str) -> dict[str, Any]:
    """Predict the click rate of the training rows for every test row.

    Parameters
    ----------
    train, test : DataFrame
    label : str
        Of 0 and 1 in both; there must be rows.

    Returns
    -------
    dict
        As :func:`quality`, without a reliability curve; what a model must be better than.
    """
    (rows, clicks), (tested, clicked) = (
        part.agg(F.count(F.lit(1)), F.sum(column(label).cast("double"))).collect()[0]
        for part in (train, test)
    )
    return constant_quality(clicks / rows, tested, clicked)


def constant_quality(rate: float, rows: int, clicks: float) -> dict[str, Any]:
    """Quality of one probability for every row; log loss with it clipped as the models' is."""
    p = min(max(rate, 1e-15), 1 - 1e-15)
    return {
        "rate": rate,
        "auc": 0.5 if 0 < clicks < rows else None,
        "auc_error": None,
        "log_loss": -(clicks * math.log(p) + (rows - clicks) * math.log1p(-p)) / rows,
        "calibration_ratio": rate * rows / clicks if clicks else None,
        "expected_calibration_error": abs(rate - clicks / rows),
    }


def _auc(scored: DataFrame, label: str, rows: int) -> Estimate:
    """AUC of all rows; beyond `RANKED_ROWS` its error is that of a sample, scaled."""
    logit = vector_to_array(column("rawPrediction"))[1].alias("logit")
    pairs = scored.select(column(label).cast("double").alias("label"), logit)
    if rows <= RANKED_ROWS:
        frame: Any = pairs.toPandas()
        return auc_estimate(frame["label"], frame["logit"])
    # By default Spark thins the curve to 1000 points.
    exact = BinaryClassificationEvaluator(labelCol=label, numBins=0).evaluate(scored)
    frame = pairs.sample(fraction=RANKED_ROWS / rows, seed=0).toPandas()
    error = auc_estimate(frame["label"], frame["logit"]).standard_error
    return Estimate(exact, error * math.sqrt(len(frame) / rows))


def merged(points: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Join neighbours of a reliability curve into at most so many points of similar rows.

    Parameters
    ----------
    points : list of dict
        mean_probability, rate and rows, by increasing probability.
    most : int
    """
    wanted = sum(point["rows"] for point in points) / most
    groups: list[list[dict[str, Any]]] = []
    before = 0
    for point in points:
        # A group is numbered by the rows before it, so no group can hold less than its share.
        if not groups or before // wanted > (before - groups[-1][-1]["rows"]) // wanted:
            groups.append([])
        groups[-1].append(point)
        before += point["rows"]
    return [_joined(group) for group in groups]


def _joined(group: list[dict[str, Any]]) -> dict[str, Any]:
    rows = sum(point["rows"] for point in group)
    means = {
        name: sum(point[name] * point["rows"] for point in group) / rows
        for name in ("mean_probability", "rate")
    }
    return means | {"rows": rows}


def serving_times(encoded: DataFrame, models: Mapping[str, CTRModel]) -> dict[str, float]:
    """Microseconds per row of each model's own computation, on this machine and one thread.

    Parameters
    ----------
    encoded : DataFrame
        With the features of HashedEmbeddingEncoder; at most 32,768 rows of it are used.
    models : mapping of str to model
        Of one encoder.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    model = next(iter(models.values()))
    frame = encoded.select(feature_elements(model)).limit(TIMED_ROWS).toPandas()
    ids, numeric, _ = frame_features(frame, model.inputs)
    predictors = {name: model.predictor() for name, model in models.items()}
    return microseconds_per_row(
        predictors, np.ascontiguousarray(ids), np.ascontiguousarray(numeric)
    )


def saved_bytes(uri: str) -> int:
    """Bytes of all files under a folder, checksums and markers included.

    Parameters
    ----------
    uri : str
        Local path, ``file://`` or another file system's URI.
    """
    filesystem, path, _ = filesystem_of(uri)
    files = filesystem.get_file_info(pyarrow.fs.FileSelector(path, recursive=True))
    return sum(info.size for info in files if info.type == pyarrow.fs.FileType.File)


def slot_calibration(
    scored: DataFrame, slot: str, label: str
) -> dict[str, dict[str, Any] | list[dict[str, Any]]]:
    """Calibration of all rows and of each value of a column, the most frequent 50 first.

    Parameters
    ----------
    scored : DataFrame
        With ``probability``; persist it, two jobs read it.
    slot, label : str

    Returns
    -------
    dict
        "all" and "slots", a list: slot (text; None for null), rows, clicks, predicted (sum of
        probabilities), calibration_ratio (None without a click) and reliability (at most 10
        points).
    """
    text = column(slot).cast("string")
    rows = scored.select(column(label).alias("y"), "probability", text.alias("slot"))
    counts = rows.groupBy("slot").count().orderBy(F.desc("count"), "slot").limit(SLOTS).collect()
    names = [row["slot"] for row in counts]
    # All others are one slot, so that the driver has the sums of so many slots at most.
    texts = [name for name in names if name is not None]
    listed = F.coalesce(F.col("slot").isin(texts), F.lit(False))
    if None in names:
        listed = listed | F.col("slot").isNull()
    grouped = rows.select(
        "y", "probability", listed.alias("listed"), F.when(listed, F.col("slot")).alias("slot")
    )
    evaluator = CalibrationEvaluator(labelCol="y", slotCols=["listed", "slot"], numBins=1000)
    found = evaluator.measureSlots(grouped)
    each = {one["slot"][1]: one for one in found["slots"] if one["slot"][0] == "true"}
    return {
        "all": _slot_facts(found["overall"]),
        "slots": [{"slot": name} | _slot_facts(each[name]) for name in names],
    }


def _slot_facts(found: Mapping[str, Any]) -> dict[str, Any]:
    points = found["reliability"]
    # Of about ten clicks each, or a curve shows chance more than anything else.
    most = min(SLOT_POINTS, max(1, found["clicks"] // 10))
    return {
        "rows": found["rows"],
        "clicks": found["clicks"],
        "predicted": sum(point["mean_probability"] * point["rows"] for point in points),
        "calibration_ratio": found["calibrationRatio"] if found["clicks"] else None,
        "reliability": merged(points, most),
    }
