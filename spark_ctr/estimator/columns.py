"""Columns that a trained stage reads and adds, checked before a job starts."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame

from spark_ctr.estimator.params import CTRParams
from spark_ctr.rows.scoring import prediction_columns
from spark_ctr.rows.training_columns import feature_fields
from spark_ctr.stage.columns import check_distinct, check_new, metadata_of
from spark_ctr.tables import Inputs, Table


def check_outputs(dataset: DataFrame, params: CTRParams, tasks: Sequence[str] = ("click",)) -> None:
    """Refuse prediction columns that the dataset has already or that share a name.

    Raises
    ------
    ValueError
    """
    names = ("rawPredictionCol", "probabilityCol", "predictionCol")
    columns = prediction_columns(params, tasks)
    for name, outputs in zip(names, zip(*columns, strict=True), strict=True):
        check_new(dataset, outputs, name)
    every = [output for of_task in columns for output in of_task]
    check_distinct(dataset, every, "rawPredictionCol, probabilityCol and predictionCol")


def check_features(dataset: DataFrame, names: tuple[str, str], inputs: Inputs) -> None:
    """Check that the feature columns exist and were encoded for this model.

    Raises
    ------
    ValueError, TypeError
    """
    ids, _ = feature_fields(dataset, *names)
    found = tuple(map(Table.from_dict, metadata_of(ids).get("tables", [])))
    if found and not Inputs(found, inputs.numeric).same_ids(inputs):
        layouts = [[table.ids_layout for table in tables] for tables in (found, inputs.tables)]
        values = " of other values" if layouts[0] == layouts[1] else ""
        raise ValueError(
            f"column {names[0]!r} (categoricalFeaturesCol) was encoded with tables {layouts[0]}"
            f"{values}, the model was trained on {layouts[1]}: use the encoder it was trained with"
        )
