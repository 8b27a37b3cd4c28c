"""A DataFrame as Parquet files for training: checked, split, in an order of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pyspark.sql import DataFrame

from spark_ctr.rows.split import feature_names
from spark_ctr.rows.training_checks import TrainingData, checked_data
from spark_ctr.rows.training_columns import (
    TrainingColumns,
    feature_fields,
    feature_inputs,
    inputs_of,
)
from spark_ctr.rows.training_files import new_folder, remove_folder
from spark_ctr.rows.training_rows import write_rows
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
        further = tuple(feature_inputs(dataset, *pair) for pair in columns.further)
        values = sum(len(feature_names(one)) for one in (inputs, *further))
        values += 1 + max(1, len(columns.tasks))
        with full_disk_told("the training rows", folder, lambda: 4 * values * dataset.count()):
            held_out = write_rows(dataset, columns, folder)
        expected = _expected_rows(dataset, columns)
        yield checked_data(dataset, columns, inputs, folder, expected, further, held_out)
    finally:
        remove_folder(folder)


@contextmanager
def full_disk_told(what: str, folder: str, needed: Callable[[], int]) -> Iterator[None]:
    """Raise what `full_disk` says where a job that writes to a folder fails for want of space.

    Parameters
    ----------
    what : str
        What is being written.
    folder : str
    needed : callable
        Returns the bytes that it takes at most; may fail.
    """
    free = free_bytes(folder)
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        logger.debug("%s could not be written", what, exc_info=True)
    else:
        return
    # Outside of the handler: thirteen thousand characters of Java's say no more than this.
    try:
        count = needed()
    except Exception:
        logger.debug("the rows could not be counted", exc_info=True)
        count = None
    told = f"{what} (or Spark's scratch files, see spark.local.dir)"
    raise full_disk(told, folder, "cacheDir", count, free)


def _expected_rows(dataset: DataFrame, columns: TrainingColumns) -> int | None:
    """Rows to find on disk, where executors may have written to disks of their own."""
    master = dataset.sparkSession.conf.get("spark.master", "") or ""
    return None if columns.cache_dir or master.startswith("local") else dataset.count()
