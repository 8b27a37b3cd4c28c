"""A DataFrame as Parquet files for training: checked, split, in an order of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame

from spark_ctr.rows.training_checks import TrainingData, checked_data
from spark_ctr.rows.training_columns import TrainingColumns, feature_fields, inputs_of
from spark_ctr.rows.training_files import new_folder, remove_folder
from spark_ctr.rows.training_rows import value_names, write_rows
from spark_ctr.tables import Inputs
from spark_ctr.training.disk_space import free_bytes, full_disk, is_full_disk

logger = logging.getLogger("spark_ctr")

__all__ = ["TrainingColumns", "TrainingData", "feature_fields", "inputs_of", "training_data"]


@contextmanager
def training_data(dataset: DataFrame, columns: TrainingColumns) -> Iterator[TrainingData]:
    """Write the dataset's training columns as Parquet; the files go when the block ends.

    Rows are placed, sorted and drawn by a hash of the row of the log, so that training sees them in
    an order that is random but depends on nothing else: not on partitions, not on the session's
    settings, not on how the features were encoded.

    Raises
    ------
    ValueError
        For no rows, invalid rows under "error", a label of one class, weights that carry nothing,
        or files the driver cannot see.
    """
    inputs = inputs_of(dataset, columns)
    folder = new_folder(columns.cache_dir)
    try:
        _write(dataset, columns, inputs, folder)
        yield checked_data(dataset, columns, inputs, folder, _expected_rows(dataset, columns))
    finally:
        remove_folder(folder)


def _write(dataset: DataFrame, columns: TrainingColumns, inputs: Inputs, folder: str) -> None:
    free = free_bytes(folder)
    try:
        write_rows(dataset, columns, inputs, folder)
    except Exception as error:
        if not is_full_disk(error):
            raise
        logger.debug("the training rows could not be written", exc_info=True)
        what = "the training rows (or Spark's scratch files, see spark.local.dir)"
        needed = _needed_bytes(dataset, inputs)
    else:
        return
    # Outside of the handler: thirteen thousand characters of Java's say no more than this.
    raise full_disk(what, folder, "cacheDir", needed, free)


def _needed_bytes(dataset: DataFrame, inputs: Inputs) -> int | None:
    """Return what the rows take at most, 4 bytes a value; None where they cannot be counted."""
    try:
        return 4 * len(value_names(inputs)) * dataset.count()
    except Exception:
        logger.debug("the rows could not be counted", exc_info=True)
        return None


def _expected_rows(dataset: DataFrame, columns: TrainingColumns) -> int | None:
    """Rows to find on disk, where executors may have written to disks of their own."""
    master = dataset.sparkSession.conf.get("spark.master", "") or ""
    return None if columns.cache_dir or master.startswith("local") else dataset.count()
