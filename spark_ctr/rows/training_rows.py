"""The training rows of a dataset, written as Parquet in an order that their content decides."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, DataFrameWriter
from pyspark.sql import functions as F

from spark_ctr.rows.feature_columns import elements, invalid_features, usable_elements
from spark_ctr.rows.negative_sampling import DROPPED, copy_number, sample_negatives
from spark_ctr.rows.task_labels import label_columns
from spark_ctr.rows.training_columns import TrainingColumns, feature_inputs, further_prefix
from spark_ctr.rows.validation_time import latest_rows
from spark_ctr.stage.columns import column
from spark_ctr.stage.raw_rows import raw_columns, raw_hash
from spark_ctr.stage.times import time_of
from spark_ctr.tables import Inputs
from spark_ctr.training.feeds.block import Layout

TRAIN, VALID, INVALID, UNLABELLED = "train", "valid", "invalid", "unlabelled"
SPLITS = (TRAIN, VALID, INVALID, DROPPED)
REASONS = (
    "label is null or not 0 or 1",
    "weight is null, negative, not finite or beyond float32",
    "features",
    "validation time is null or not finite",
)
FILES = 8
# Spark's hash sends eight numbers from here on to eight different partitions.
_FIRST_FILE = 148
# Small enough to decode in a processor's cache and to deal evenly to several ranks; the size counts
# dictionary-encoded values, so that more rows fit. Measured in benchmarks/feeds.py.
ROWS_PER_ROW_GROUP = 32_768
_SPLIT_STEPS = 1_000_000
# What the session says otherwise could change row groups, or be what no reader here understands.
_PARQUET: dict[str, str | int] = {
    "compression": "snappy",
    "maxRecordsPerFile": 0,
    "parquet.writer.version": "v1",
    "parquet.enable.dictionary": "true",
    "parquet.page.size": 1 << 20,
    "parquet.dictionary.page.size": 1 << 20,
    "parquet.page.row.count.limit": 20_000,
    "parquet.page.size.row.check.min": 100,
    "parquet.page.size.row.check.max": 10_000,
    "parquet.page.size.check.estimate": "true",
    "parquet.block.size.row.check.min": 100,
    "parquet.block.size.row.check.max": 10_000,
    "parquet.writer.max-padding": 8 << 20,
    "parquet.bloom.filter.enabled": "false",
}


def label_names(count: int) -> list[str]:
    """Name the columns of the files that hold the labels of so many tasks."""
    return Layout(0, 0, n_labels=count).labels


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


def written(rows: DataFrame, values: int) -> DataFrameWriter:
    """Return the writer of rows with a number of values each: small row groups, one way to write.

    Parameters
    ----------
    rows : DataFrame
    values : int
    """
    block = ROWS_PER_ROW_GROUP * 4 * values
    writer = rows.write.options(**_PARQUET)
    return writer.partitionBy("split", "file").option("parquet.block.size", block)


def write_rows(dataset: DataFrame, columns: TrainingColumns, folder: str) -> None:
    """Write the rows into subfolders ``split=NAME/file=NUMBER``, one file each.

    Content decides all: the hash of a row of the log says which file it goes into, where in it,
    and whether it is drawn; equal rows are told apart by their number. Only what Spark documents is
    relied on: equal keys meet in one partition after `repartition`, and stay sorted within it.
    """
    labels, outside = label_columns(dataset, columns)
    label = labels[0]
    weight = F.lit(1.0) if columns.weight is None else column(columns.weight).cast("double")
    parts = prefixed_inputs(dataset, columns)
    flat, bad_features = checked_elements(parts, columns.handle_invalid)
    reason = F.when(outside, 0).when(~_usable(weight), 1)
    if columns.handle_invalid != "keep":
        reason = reason.when(bad_features, 2)
        if columns.validation_time is not None:
            reason = reason.when(time_of(dataset, columns.validation_time).isNull(), 3)
    chosen = _is_validation(dataset, columns)
    raw = _raw_hash(dataset, columns, label)
    rows = dataset.select(
        *flat,
        *(
            one.cast("float").alias(name)
            for one, name in zip(labels, label_names(len(labels)), strict=True)
        ),
        weight.cast("float").alias("weight"),
        reason.cast("int").alias("reason"),
        (F.lit(None).cast("boolean") if chosen is None else chosen).alias("validation"),
        *([] if raw is None else [raw.alias("raw")]),
    )
    own = [*feature_names(parts[0][0]), "label"]
    further = [name for inputs, prefix, _ in parts[1:] for name in feature_names(inputs, prefix)]
    # Without the weight, so that rows do not move where all weights are scaled; nor do they where
    # there are further features.
    rows = rows.withColumn("place", F.xxhash64(*own, F.lit(columns.seed)))
    values = F.xxhash64("place", *further) if further else F.col("place")
    rows = rows.withColumn("values", values)
    if raw is not None:
        rows = rows.withColumn("place", F.col("raw"))
    more = label_names(len(labels))[1:]
    names = [*own, *more, "weight", *further]
    if chosen is None or columns.negative_sampling_rate < 1:
        rows = rows.withColumn("copy", copy_number())
    if chosen is None:
        drawn = F.when(F.col("copy") > 1, F.xxhash64("place", "copy"))
        drawn = drawn.otherwise(F.xxhash64("place"))
        steps = int(columns.validation_fraction * _SPLIT_STEPS)
        rows = rows.withColumn("validation", F.pmod(drawn, F.lit(_SPLIT_STEPS)) < steps)
    split = (
        F.when(F.col("reason").isNotNull(), INVALID)
        .when(F.col("validation"), VALID)
        .otherwise(TRAIN)
    )
    rows = rows.withColumn("split", split)
    rows = rows.withColumn("file", file_number(F.col("place")))
    rows = (
        sample_negatives(rows, columns.negative_sampling_rate)
        .repartition(FILES, "file")
        .sortWithinPartitions("split", "file", "place", "values", "weight", *more)
        .select(*names, "reason", "split", "file")
    )
    written(rows, len(names)).parquet(f"{folder}/data")


def file_number(place: Column) -> Column:
    """Return the number of the file that a row goes into, by the hash that places it."""
    return (F.pmod(place, F.lit(FILES)) + F.lit(_FIRST_FILE)).cast("int")


def _usable(weight: Column) -> Column:
    """Whether a weight is 0, or a positive finite number as the float32 that it is used as."""
    used = weight.cast("float")
    usable = (weight == 0) | ((used > 0) & (used < float("inf")))
    return F.coalesce(usable, F.lit(False))


def _raw_hash(dataset: DataFrame, columns: TrainingColumns, label: Column) -> Column | None:
    """Hash of the row of the log; None where the dataset has no more than its features."""
    made = [name for pair in columns.pairs for name in pair] + [columns.label]
    made += [task.label for task in columns.tasks if task.label != columns.label]
    names = raw_columns(dataset, [*made, *([columns.weight] if columns.weight else [])])
    if {*names} <= {columns.validation}:
        return None
    return F.xxhash64(raw_hash(dataset, names, columns.seed), label)


def _is_validation(dataset: DataFrame, columns: TrainingColumns) -> Column | None:
    """Return whether a row is for validation; None where validation rows are drawn."""
    if columns.validation_time is not None:
        return latest_rows(dataset, columns.validation_time, columns.validation_fraction)
    if columns.validation is None:
        return None
    return F.coalesce(column(columns.validation), F.lit(False))
