"""Rows without labels, written as Parquet in an order that their content decides."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.rows.split import checked_elements, feature_names, prefixed_inputs
from spark_ctr.rows.training_columns import TrainingColumns, check_same_inputs
from spark_ctr.rows.training_data import full_disk_told
from spark_ctr.rows.training_files import labelled_rows, row_count
from spark_ctr.rows.training_rows import FILES, INVALID, UNLABELLED, file_number, written
from spark_ctr.tables import Inputs

logger = logging.getLogger("spark_ctr")


@dataclass(frozen=True)
class UnlabelledRows:
    """Files of rows without labels.

    Attributes
    ----------
    path : str
        Folder of Parquet files; label is 0 and weight 1 in all of their rows.
    rows, skipped : int
        Rows written, and rows left out as invalid.
    prefixes : tuple of str
        Of the features in the files.
    digest : str
        Equal for the same rows, however the dataset is partitioned.
    """

    path: str
    rows: int
    skipped: int
    prefixes: tuple[str, ...]
    digest: str


def write_unlabelled(
    dataset: DataFrame,
    columns: TrainingColumns,
    inputs: Inputs,
    folder: str,
    further: Sequence[Inputs] = (),
) -> UnlabelledRows:
    """Write the features of a dataset that has no label, placed by the content of the rows.

    Parameters
    ----------
    dataset : DataFrame
    columns : TrainingColumns
        Names of the feature columns; seed and handle_invalid are used too, the rest is not.
    inputs : Inputs
        Of the training rows, whose columns and tables these rows must have.
    folder : str
        `TrainingData.folder`.
    further : sequence of Inputs
        Of the training rows, one for each pair of `columns.further`.

    Raises
    ------
    ValueError, TypeError
        Before any job: for feature columns that are missing, or others than those of the training
        rows. After it: for invalid rows under "error", and for no rows.
    OSError
        For a full disk.
    """
    parts = prefixed_inputs(dataset, columns)
    for (found, _, pair), expected in zip(parts, (inputs, *further), strict=True):
        check_same_inputs(found, expected, f"the unlabelled dataset ({pair[0]!r}, {pair[1]!r})")
    flat, bad = checked_elements(parts, columns.handle_invalid)
    names = [name for found, prefix, _ in parts for name in feature_names(found, prefix)]
    values = [*names, "label", "weight"]
    split = F.when(bad, INVALID).otherwise(UNLABELLED)
    rows = dataset.select(
        *flat,
        F.lit(0.0).cast("float").alias("label"),
        F.lit(1.0).cast("float").alias("weight"),
        split.alias("split"),
    )
    rows = rows.withColumn("place", F.xxhash64(*names, F.lit(columns.seed)))
    rows = rows.withColumn("file", file_number(F.col("place")))
    rows = rows.repartition(FILES, "file").sortWithinPartitions("split", "file", "place")
    target = f"{folder}/data/unlabelled-{uuid.uuid4().hex}"
    with full_disk_told(
        "the unlabelled rows", folder, lambda: 4 * len(values) * int(dataset.count())
    ):
        written(rows.select(*values, "split", "file"), len(values)).parquet(target)
    path = f"{target}/split={UNLABELLED}"
    skipped = row_count(f"{target}/split={INVALID}")
    found_rows = labelled_rows(path, names)
    if skipped and columns.handle_invalid == "error":
        raise ValueError(
            f"{skipped} of {found_rows.rows + skipped} unlabelled rows have features that are "
            "null, of wrong length, out of range or not finite; clean them or set "
            "handleInvalid='skip'"
        )
    if not found_rows.rows:
        raise ValueError(f"the unlabelled dataset has no valid rows ({skipped} invalid ones)")
    if skipped:
        logger.warning("%d unlabelled rows were skipped as invalid", skipped)
    prefixes = tuple(prefix for _, prefix, _ in parts)
    return UnlabelledRows(path, found_rows.rows, skipped, prefixes, found_rows.digest)
