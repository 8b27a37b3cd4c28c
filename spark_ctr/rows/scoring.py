"""Score a DataFrame with a network inside a UDF that takes batches of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.jvm import use_jvm_functions, vector_of_two
from spark_ctr.rows.feature_columns import elements, invalid_features
from spark_ctr.rows.held_out import HELD_OUT
from spark_ctr.rows.scored_batches import Scoring
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.stage.columns import column, field_of, with_metadata
from spark_ctr.stage.invalid_rows import InvalidRows

# Spark has UDFs of Arrow arrays since 4.1: a worker need not import pandas for them.
_ARROW_UDF = getattr(F, "arrow_udf", None)


def feature_elements(model: Any) -> list[Column]:
    """Columns that `frame_features` takes apart: ids, numbers, lengths of both arrays."""
    names = model.getCategoricalFeaturesCol(), model.getNumericFeaturesCol()
    lengths = [F.size(column(name)).alias(f"length{i}") for i, name in enumerate(names)]
    return elements(model.inputs, *names) + lengths


def packed_features(dataset: DataFrame, model: Any) -> Column:
    """Ids and numbers of a row as bytes, by the JVM function ``ctr_pack``."""
    names = model.getCategoricalFeaturesCol(), model.getNumericFeaturesCol()
    ids, numbers = map(column, names)
    element = getattr(field_of(dataset, names[1]).dataType, "elementType", None)
    if not isinstance(element, (T.FloatType, T.DoubleType)):
        numbers = numbers.cast("array<float>")
    widths = F.lit(model.inputs.ids_width), F.lit(len(model.inputs.numeric))
    return F.call_function("ctr_pack", ids, numbers, *widths)


def logit_column(dataset: DataFrame, model: Any, payload: bytes) -> Column:
    """Logit of each row as a double column, null for an invalid row under ``skip``.

    Of several tasks it is a column of arrays, with a logit a task. Rows cross to Python as bytes
    where the session has spark_ctr's JVM functions, else as a column a number, with the same
    logits; and as Arrow arrays where Spark has such UDFs, else through pandas.

    Parameters
    ----------
    dataset : DataFrame
    model : CTRModel
    payload : bytes
        Serialised network, which the model's loader reads.
    """
    packed, tasks = use_jvm_functions(dataset.sparkSession), len(model.taskNames)
    scoring = Scoring(
        model.inputs,
        tasks,
        model.getHandleInvalid(),
        packed,
        model._loader,
        Payload(payload, shared=model._maps_payload),
        model._scoring_device(),
    )
    row = packed_features(dataset, model) if packed else F.struct(*feature_elements(model))
    logit = _scored(scoring, row)
    if scoring.policy != "skip":
        return logit
    if tasks == 1:
        return F.nanvl(logit, F.lit(None))
    # Through pandas, Arrow makes null of nan within arrays.
    return F.when(logit[0].isNotNull() & ~F.isnan(logit[0]), logit)


def _scored(scoring: Scoring, row: Column) -> Column:
    """Column that a worker's `Scoring` makes of the column of rows."""
    kind = "double" if scoring.tasks == 1 else "array<double>"
    # Spark wants functions, and reads their type hints, which must be real types, not strings.
    if _ARROW_UDF is not None:
        import pyarrow as pa

        def arrow(batches: Any) -> Any:
            return scoring.arrow(batches)

        arrow.__annotations__ = {"batches": Iterator[pa.Array], "return": Iterator[pa.Array]}
        return _ARROW_UDF(arrow, kind)(row)
    import pandas as pd

    def pandas(batches: Any) -> Any:
        return scoring.pandas(batches)

    batch: Any = pd.Series if scoring.packed else pd.DataFrame
    pandas.__annotations__ = {"batches": Iterator[batch], "return": Iterator[pd.Series]}
    return F.pandas_udf(pandas, kind)(row)  # type: ignore[call-overload]


def prediction_columns(stage: Any, tasks: Sequence[str]) -> list[tuple[str, str, str]]:
    """Name rawPrediction, probability and prediction of each task, of several with its name.

    The plain names, of the main one of several tasks, come last.
    """
    names = stage.getRawPredictionCol(), stage.getProbabilityCol(), stage.getPredictionCol()
    if len(tasks) == 1:
        return [names]
    return [*(tuple(f"{name}_{task}" for name in names) for task in tasks), names]


def add_predictions(
    dataset: DataFrame,
    logit: Column,
    rows: InvalidRows,
    stage: Any,
    tasks: Sequence[str],
    held_out: Mapping[str, Any],
) -> DataFrame:
    """Append rawPrediction, probability and prediction as Spark ML classifiers give them.

    The columns of probabilities carry which rows the model's fit held out, see
    `held_out.held_out_rule`.
    """
    name = f"__logit_{stage.uid}"
    scored = dataset.select("*", logit.alias(name))
    found = column(name)
    # The rows without a score, found without scoring.
    names = stage.getCategoricalFeaturesCol(), stage.getNumericFeaturesCol()
    counted = dataset.filter(invalid_features(stage.inputs, *names))
    # Under "error" the function that scores has raised already.
    policy = "skip" if stage.getHandleInvalid() == "skip" else "keep"
    scored = rows.apply(scored, found.isNull(), policy, "", stage.uid, counted)
    spark = dataset.sparkSession
    numbers = [*range(len(tasks)), *([stage.main_task(tasks)] if len(tasks) > 1 else [])]
    added = []

    def marked(values: Column, name: str) -> Column:
        return with_metadata(values, name, {HELD_OUT: held_out}) if held_out else values.alias(name)

    for task, (raw, probability, prediction) in zip(
        numbers, prediction_columns(stage, tasks), strict=True
    ):
        z = found if len(tasks) == 1 else found[task]
        p = 1 / (1 + F.exp(-z))
        added += [
            vector_of_two(spark, -z, z).alias(raw),
            marked(vector_of_two(spark, 1 - p, p), probability),
            F.when(p > stage.getThreshold(), 1.0).otherwise(0.0).alias(prediction),
        ]
    # Two columns of one name cannot be named.
    return scored.select("*", *added).drop(name)
