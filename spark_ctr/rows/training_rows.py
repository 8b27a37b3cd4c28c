"""The training rows of a dataset, written as Parquet in an order that their content decides."""

from __future__ import annotations

from typing import Any

from pyspark.sql import Column, DataFrame, DataFrameWriter
from pyspark.sql import functions as F

from spark_ctr.rows.held_out import chosen_rows, held_out_rule
from spark_ctr.rows.negative_sampling import DROPPED, sample_negatives
from spark_ctr.rows.split import (
    feature_names,
    further_names,
    label_names,
    label_weight_names,
    prefixed_inputs,
    raw_names,
    split_rows,
)
from spark_ctr.rows.training_columns import TrainingColumns

TRAIN, VALID, INVALID, UNLABELLED = "train", "valid", "invalid", "unlabelled"
SPLITS = (TRAIN, VALID, INVALID, DROPPED)
FILES = 8
# Spark's hash sends eight numbers from here on to eight different partitions.
_FIRST_FILE = 148
# Small enough to decode in a processor's cache and to deal evenly to several ranks; the size counts
# dictionary-encoded values, so that more rows fit. Measured in benchmarks/feeds.py.
ROWS_PER_ROW_GROUP = 32_768
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


def write_rows(dataset: DataFrame, columns: TrainingColumns, folder: str) -> dict[str, Any]:
    """Write the rows into subfolders ``split=NAME/file=NUMBER``, one file each.

    Content decides all: the hash of a row of the log says which file it goes into, where in it,
    and whether it is drawn; equal rows are told apart by their number. Only what Spark documents is
    relied on: equal keys meet in one partition after `repartition`, and stay sorted within it.

    Returns
    -------
    dict
        Which rows are for validation, see `held_out.held_out_rule`.
    """
    raw = raw_names(dataset, columns)
    rule = held_out_rule(dataset, columns, raw)
    rows = split_rows(dataset, columns, raw, chosen_rows(dataset, rule))
    parts = prefixed_inputs(dataset, columns)
    first, *more = label_names(max(1, len(columns.tasks)))
    names = [*feature_names(parts[0][0]), first, *more, "weight", *label_weight_names(columns)]
    names += further_names(parts)
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
    return rule


def file_number(place: Column) -> Column:
    """Return the number of the file that a row goes into, by the hash that places it."""
    return (F.pmod(place, F.lit(FILES)) + F.lit(_FIRST_FILE)).cast("int")
