"""Score a DataFrame with a network inside an iterator pandas UDF."""

from __future__ import annotations

import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.ml.functions import array_to_vector
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.rows.feature_columns import elements, invalid_features
from spark_ctr.stage.columns import column
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.tables import Inputs

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]

_CACHE_SIZE = 3
_predictors: OrderedDict[str, Predictor] = OrderedDict()


def predictor(loader: str, payload: bytes, digest: str) -> Predictor:
    """Predictor of this worker process, built once per model and kept for the next tasks."""
    if digest not in _predictors:
        module, name = loader.split(":")
        _predictors[digest] = getattr(importlib.import_module(module), name)(payload)
        if len(_predictors) > _CACHE_SIZE:
            _predictors.popitem(last=False)
    _predictors.move_to_end(digest)
    return _predictors[digest]


def feature_elements(model: Any) -> list[Column]:
    """Columns that :func:`checked_features` takes apart: ids, numbers, lengths of both arrays."""
    names = model.getCategoricalFeaturesCol(), model.getNumericFeaturesCol()
    lengths = [F.size(column(name)).alias(f"length{i}") for i, name in enumerate(names)]
    return elements(model.inputs, *names) + lengths


def logit_column(
    flat: list[Column], inputs: Inputs, loader: str, payload: bytes, policy: str, tasks: int = 1
) -> Column:
    """Logit of each row as a double column, null for an invalid row under ``skip``.

    Of several tasks it is a column of arrays, with a logit a task.

    Parameters
    ----------
    flat : list of Column
        From :func:`feature_elements`.
    inputs : Inputs
    loader : str
        "module:function" that makes a predictor from the payload, imported by the worker.
    payload : bytes
        Serialised network; travels with the plan, since broadcasts do not exist on Connect.
    policy : {"error", "skip", "keep"}
        For rows whose features are null, of wrong length, out of range or not finite.
    tasks : int
    """
    digest = hashlib.sha256(payload).hexdigest()

    def logits(frames: Iterator[pd.DataFrame]) -> Iterator[pd.Series]:
        predict = predictor(loader, payload, digest)
        for frame in frames:
            ids, numeric, bad = checked_features(frame, inputs)
            if policy == "error" and bad.any():
                raise ValueError(
                    f"{bad.sum()} of {len(bad)} rows in a batch have features that are null, of "
                    "wrong length, out of range or not finite; use handleInvalid='skip' or 'keep'"
                )
            scores = predict(ids, numeric).astype(np.float64)
            if policy == "skip":
                scores[bad] = np.nan
            yield pd.Series(scores[:, 0] if tasks == 1 else list(scores))

    # pandas_udf reads the type hints, which must be real types here, not strings.
    logits.__annotations__ = {
        "frames": Iterator[pd.DataFrame],
        "return": Iterator[pd.Series],
    }
    kind = "double" if tasks == 1 else "array<double>"
    logit = F.pandas_udf(logits, kind)(F.struct(*flat))  # type: ignore[call-overload]
    if policy != "skip":
        return logit
    if tasks == 1:
        return F.nanvl(logit, F.lit(None))
    # Arrow makes null of nan within arrays.
    return F.when(logit[0].isNotNull() & ~F.isnan(logit[0]), logit)


def checked_features(
    frame: pd.DataFrame, inputs: Inputs
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids int32 [B, ids_width], numbers float32 [B, M], invalid ones 0; and invalid rows [B]."""
    width, numbers = inputs.ids_width, len(inputs.numeric)
    # A column with nulls arrives as float64, which holds every int32 exactly.
    raw = frame.iloc[:, :width].to_numpy(dtype=np.float64)
    numeric = frame.iloc[:, width : width + numbers].to_numpy(dtype=np.float32)
    lengths = frame.iloc[:, width + numbers :].to_numpy(dtype=np.float64)
    good_ids = inputs.id_range.valid(raw)
    good_numbers = np.isfinite(numeric)
    good = (lengths == (width, numbers)).all(1) & good_ids.all(1) & good_numbers.all(1)
    ids = np.where(good_ids, raw, 0).astype(np.int32)
    return ids, np.where(good_numbers, numeric, np.float32(0)), ~good


def prediction_columns(stage: Any, tasks: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name rawPrediction, probability and prediction of each task, of several with its name."""
    names = stage.getRawPredictionCol(), stage.getProbabilityCol(), stage.getPredictionCol()
    if len(tasks) == 1:
        return [names]
    return [tuple(f"{name}_{task}" for name in names) for task in tasks]  # type: ignore[misc]


def add_predictions(
    dataset: DataFrame, logit: Column, rows: InvalidRows, stage: Any, tasks: Sequence[str]
) -> DataFrame:
    """Append rawPrediction, probability and prediction as Spark ML classifiers give them."""
    name = f"__logit_{stage.uid}"
    scored = dataset.select("*", logit.alias(name))
    found = column(name)
    # The rows without a score, found without scoring.
    names = stage.getCategoricalFeaturesCol(), stage.getNumericFeaturesCol()
    counted = dataset.filter(invalid_features(stage.inputs, *names))
    # Under "error" the function that scores has raised already.
    policy = "skip" if stage.getHandleInvalid() == "skip" else "keep"
    scored = rows.apply(scored, found.isNull(), policy, "", stage.uid, counted)
    added = []
    for task, (raw, probability, prediction) in enumerate(prediction_columns(stage, tasks)):
        z = found if len(tasks) == 1 else found[task]
        p = 1 / (1 + F.exp(-z))
        added += [
            array_to_vector(F.array(-z, z)).alias(raw),
            array_to_vector(F.array(1 - p, p)).alias(probability),
            F.when(p > stage.getThreshold(), 1.0).otherwise(0.0).alias(prediction),
        ]
    # Two columns of one name cannot be named.
    return scored.select("*", *added).drop(name)
