"""Which part each row of a dataset belongs to: training, validation, or none as it is invalid."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.rows.feature_columns import elements, invalid_features, usable_elements
from spark_ctr.rows.negative_sampling import copy_number
from spark_ctr.rows.task_labels import label_columns, label_weights
from spark_ctr.rows.training_columns import TrainingColumns, feature_inputs, further_prefix
from spark_ctr.stage.columns import column
from spark_ctr.stage.raw_rows import raw_columns, raw_hash
from spark_ctr.stage.times import time_of
from spark_ctr.tables import Inputs
from spark_ctr.training.feeds.block import Layout

REASONS = (
    "label is null or not 0 or 1",
    "weight is null, negative, not finite or beyond float32",
    "features",
    "validation time is null or not finite",
    "weight of a task is null, negative, not finite or beyond float32 where its label is known",
)
_SPLIT_STEPS = 1_000_000


def label_names(count: int) -> list[str]:
    """Name the columns of the files that hold the labels of so many tasks."""
    return Layout(0, 0, n_labels=count).labels


def label_weight_names(columns: TrainingColumns) -> list[str]:
    """Name the columns of the files that multiply the weights, one a task; none without any."""
    weighted = any(task.weight for task in columns.tasks)
    return Layout(0, 0, n_labels=len(columns.tasks), weighted=weighted).label_weights


def feature_names(inputs: Inputs, prefix: str = "") -> list[str]:
    """Name the columns of the files that hold a row's features."""
    layout = Layout(inputs.ids_width, len(inputs.numeric), prefix=prefix)
    return [*layout.ids, *layout.numeric]


def prefixed_inputs(
    dataset: DataFrame, columns: TrainingColumns
) -> list[tuple[Inputs, str, tuple[str, str]]]:
    """Return inputs, prefix and names of each pair of feature columns, the network's own first."""
    prefixes = ["", *map(further_prefix, range(len(columns.further)))]
    return [
        (feature_inputs(dataset, *pair), prefix, pair)
        for prefix, pair in zip(prefixes, columns.pairs, strict=True)
    ]


def checked_elements(
    parts: list[tuple[Inputs, str, tuple[str, str]]], handle_invalid: str
) -> tuple[list[Column], Column]:
    """Return the features as a column each, and whether a row's are invalid; none is under "keep".

    Parameters
    ----------
    parts : list
        From `prefixed_inputs`.
    handle_invalid : {"error", "skip", "keep"}
    """
    flat: list[Column] = []
    bad = F.lit(False)
    for inputs, prefix, pair in parts:
        found = elements(inputs, *pair, prefix)
        if handle_invalid == "keep":
            found = usable_elements(inputs, found, prefix)
        else:
            bad = bad | invalid_features(inputs, *pair)
        flat += found
    return flat, bad


def raw_names(dataset: DataFrame, columns: TrainingColumns) -> list[str]:
    """Name the columns whose content places a row; none where the dataset has but its features."""
    made = [name for pair in columns.pairs for name in pair] + [columns.label]
    made += [task.label for task in columns.tasks if task.label != columns.label]
    weights = {columns.weight, *(task.weight for task in columns.tasks)} - {None}
    names = raw_columns(dataset, [*made, *map(str, weights)])
    return [] if {*names} <= {columns.validation} else names


def split_rows(
    dataset: DataFrame,
    columns: TrainingColumns,
    raw: Sequence[str],
    chosen: Column | None,
    kept: Sequence[Column] = (),
) -> DataFrame:
    """Return features, labels and weight of each row, where it is placed, and its part.

    Parameters
    ----------
    dataset : DataFrame
    columns : TrainingColumns
    raw : sequence of str
        From `raw_names`.
    chosen : Column or None
        Whether a row is for validation; None: such rows are drawn.
    kept : sequence of Column
        What else is kept of a row.

    Returns
    -------
    DataFrame
        The columns of the training files, ``reason`` (index of `REASONS`; null of a valid row),
        ``validation``, ``place`` and ``values`` (hashes of the row of the log and of what is
        written of it), ``copy`` where it was needed, and those of `kept`.
    """
    labels, outside = label_columns(dataset, columns)
    weight = F.lit(1.0) if columns.weight is None else column(columns.weight).cast("double")
    of_labels = label_weights(dataset, columns, labels)
    parts = prefixed_inputs(dataset, columns)
    flat, bad_features = checked_elements(parts, columns.handle_invalid)
    reason = F.when(outside, 0).when(~_usable(weight), 1)
    for one in of_labels:
        reason = reason.when(~_usable(one), 4)
    if columns.handle_invalid != "keep":
        reason = reason.when(bad_features, 2)
        if columns.validation_time is not None:
            reason = reason.when(time_of(dataset, columns.validation_time).isNull(), 3)
    raw_place = [F.xxhash64(raw_hash(dataset, raw, columns.seed), labels[0]).alias("raw")]
    rows = dataset.select(
        *flat,
        *(
            one.cast("float").alias(name)
            for one, name in zip(labels, label_names(len(labels)), strict=True)
        ),
        weight.cast("float").alias("weight"),
        *(
            one.cast("float").alias(name)
            for one, name in zip(of_labels, label_weight_names(columns), strict=True)
        ),
        reason.cast("int").alias("reason"),
        (F.lit(None).cast("boolean") if chosen is None else chosen).alias("validation"),
        *(raw_place if raw else []),
        *kept,
    )
    own = [*feature_names(parts[0][0]), "label"]
    # Without the weight, so that rows do not move where all weights are scaled; nor do they where
    # there are further features.
    rows = rows.withColumn("place", F.xxhash64(*own, F.lit(columns.seed)))
    further = [*further_names(parts), *label_weight_names(columns)]
    values = F.xxhash64("place", *further) if further else F.col("place")
    rows = rows.withColumn("values", values)
    if raw:
        rows = rows.withColumn("place", F.col("raw"))
    if chosen is None or columns.negative_sampling_rate < 1:
        rows = rows.withColumn("copy", copy_number())
    if chosen is None:
        drawn = F.when(F.col("copy") > 1, F.xxhash64("place", "copy"))
        drawn = drawn.otherwise(F.xxhash64("place"))
        steps = int(columns.validation_fraction * _SPLIT_STEPS)
        rows = rows.withColumn("validation", F.pmod(drawn, F.lit(_SPLIT_STEPS)) < steps)
    return rows


def further_names(parts: list[tuple[Inputs, str, tuple[str, str]]]) -> list[str]:
    """Name the columns of the files with the features that only teachers read."""
    return [name for inputs, prefix, _ in parts[1:] for name in feature_names(inputs, prefix)]


def _usable(weight: Column) -> Column:
    """Whether a weight is 0, or a positive finite number as the float32 that it is used as."""
    used = weight.cast("float")
    usable = (weight == 0) | ((used > 0) & (used < float("inf")))
    return F.coalesce(usable, F.lit(False))
