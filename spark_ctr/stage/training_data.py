"""A DataFrame as Parquet files for training: checked, split, in an order of its own."""

from __future__ import annotations

import logging
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow.fs
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.networks.inputs import Inputs, Table
from spark_ctr.stage.columns import NUMERIC_TYPES, column, field, metadata_of
from spark_ctr.stage.feature_columns import elements, invalid_features, usable_elements
from spark_ctr.training.feeds.location import filesystem_of
from spark_ctr.training.sample_size import too_few_events

logger = logging.getLogger("spark_ctr")

_FILES = 8
_SPLIT_STEPS = 1_000_000
_REASONS = ("label is null or not 0 or 1", "weight is null, negative or not finite", "features")


@dataclass(frozen=True)
class TrainingColumns:
    """Which columns of a dataset are trained on, and how it is split.

    Attributes
    ----------
    label, weight, validation : str or None
        Label, sample weight, and boolean validation indicator.
    categorical, numeric : str
        The feature columns of HashedEmbeddingEncoder.
    validation_fraction : float
        Share of rows kept for validation where there is no indicator.
    seed : int
    handle_invalid : {"error", "skip", "keep"}
        "keep" reads an invalid feature as missing; an invalid label is an error even then.
    cache_dir : str or None
        Folder that driver and executors share; None: a temporary one on this machine.
    """

    label: str
    weight: str | None
    validation: str | None
    categorical: str
    numeric: str
    validation_fraction: float
    seed: int
    handle_invalid: str
    cache_dir: str | None


@dataclass(frozen=True)
class TrainingData:
    """Training files on disk, and what was counted while they were written."""

    train_path: str
    valid_path: str
    inputs: Inputs
    rows: int
    train_rows: int
    valid_rows: int
    positives: int
    skipped: int


def feature_fields(
    dataset: DataFrame, categorical: str, numeric: str
) -> tuple[T.StructField, T.StructField]:
    """Fields of the two feature columns, whose types must be what HashedEmbeddingEncoder makes.

    Raises
    ------
    ValueError, TypeError
        For a missing column or a wrong type.
    """
    ids = field(dataset, categorical, "categoricalFeaturesCol", (T.ArrayType,))
    numbers = field(dataset, numeric, "numericFeaturesCol", (T.ArrayType,))
    for found, role, inner in (
        (ids, "categoricalFeaturesCol", T.IntegerType),
        (numbers, "numericFeaturesCol", T.FractionalType),
    ):
        if not isinstance(getattr(found.dataType, "elementType", None), inner):
            raise TypeError(
                f"column {found.name!r} ({role}) has type {found.dataType.simpleString()}; "
                "it must be what HashedEmbeddingEncoder makes"
            )
    return ids, numbers


def inputs_of(dataset: DataFrame, columns: TrainingColumns) -> Inputs:
    """Check the schema and read table sizes and dimensions from the columns' metadata.

    Raises
    ------
    ValueError, TypeError
        For a missing column, a wrong type, or features without spark_ctr's metadata.
    """
    field(dataset, columns.label, "labelCol", NUMERIC_TYPES)
    if columns.weight is not None:
        field(dataset, columns.weight, "weightCol", (T.NumericType,))
    if columns.validation is not None:
        field(dataset, columns.validation, "validationIndicatorCol", (T.BooleanType,))
    ids, numbers = feature_fields(dataset, columns.categorical, columns.numeric)
    if "tables" not in metadata_of(ids) or "names" not in metadata_of(numbers):
        raise ValueError(
            f"columns {columns.categorical!r} and {columns.numeric!r} carry no table sizes: "
            "make them with HashedEmbeddingEncoder (and keep the columns' metadata)"
        )
    return Inputs(
        tables=tuple(map(Table.from_dict, metadata_of(ids)["tables"])),
        numeric=tuple(metadata_of(numbers)["names"]),
    )


@contextmanager
def training_data(dataset: DataFrame, columns: TrainingColumns) -> Iterator[TrainingData]:
    """Write the dataset's training columns as Parquet; the files go when the block ends.

    Rows are placed and sorted by a hash of their content, so that training sees them in an order
    that is random but does not depend on how the dataset was partitioned.

    Raises
    ------
    ValueError
        For no rows, invalid rows under "error", a label of one class, or files the driver cannot
        see.
    """
    inputs = inputs_of(dataset, columns)
    folder = _new_folder(columns.cache_dir)
    try:
        _write(dataset, columns, inputs, folder)
        yield _checked(folder, columns, inputs, _expected_rows(dataset, columns))
    finally:
        _remove(folder)


def _write(dataset: DataFrame, columns: TrainingColumns, inputs: Inputs, folder: str) -> None:
    flat = elements(inputs, columns.categorical, columns.numeric)
    label = column(columns.label).cast("double")
    weight = F.lit(1.0) if columns.weight is None else column(columns.weight).cast("double")
    bad_label = F.coalesce(~label.isin(0.0, 1.0), F.lit(True))
    bad_weight = F.coalesce(~((weight >= 0) & (weight < float("inf"))), F.lit(True))
    reason = F.when(bad_label, 0).when(bad_weight, 1)
    if columns.handle_invalid != "keep":
        bad_features = invalid_features(inputs, columns.categorical, columns.numeric)
        reason = reason.when(bad_features, 2)
    if columns.handle_invalid == "keep":
        flat = usable_elements(inputs, flat)
    rows = dataset.select(
        *flat,
        label.cast("float").alias("label"),
        weight.cast("float").alias("weight"),
        reason.cast("int").alias("reason"),
        _is_validation(columns).alias("validation"),
    )
    names = [f"c{i}" for i in range(inputs.ids_width)]
    names += [f"n{i}" for i in range(len(inputs.numeric))] + ["label", "weight"]
    rows = rows.withColumn("place", F.xxhash64(*names, F.lit(columns.seed)))
    drawn = F.pmod(F.xxhash64("place"), F.lit(_SPLIT_STEPS)) < int(
        columns.validation_fraction * _SPLIT_STEPS
    )
    split = (
        F.when(F.col("reason").isNotNull(), "invalid")
        .when(F.coalesce(F.col("validation"), drawn), "valid")
        .otherwise("train")
    )
    (
        rows.withColumn("split", split)
        .drop("validation")
        .repartition(_FILES, "place")
        .sortWithinPartitions("split", "place")
        .drop("place")
        .write.partitionBy("split")
        .parquet(f"{folder}/data")
    )


def _expected_rows(dataset: DataFrame, columns: TrainingColumns) -> int | None:
    """Rows to find on disk, where executors may have written to disks of their own."""
    master = dataset.sparkSession.conf.get("spark.master", "") or ""
    return None if columns.cache_dir or master.startswith("local") else dataset.count()


def _is_validation(columns: TrainingColumns) -> Column:
    if columns.validation is None:
        return F.lit(None).cast("boolean")
    return F.coalesce(column(columns.validation), F.lit(False))


def _checked(
    folder: str, columns: TrainingColumns, inputs: Inputs, expected: int | None
) -> TrainingData:
    counts = {split: _label_counts(f"{folder}/data/split={split}") for split in ("train", "valid")}
    invalid = _reason_counts(f"{folder}/data/split=invalid")
    rows = sum(map(sum, counts.values())) + sum(invalid.values())
    if expected is not None and rows != expected:
        raise ValueError(
            f"the driver sees {rows} of the {expected} training rows written under {folder}: "
            "set cacheDir to a folder that the driver and all executors share"
        )
    if rows == 0:
        raise ValueError(f"the dataset has no rows to train on (written to {folder})")
    skipped = sum(invalid.values())
    if invalid and columns.handle_invalid != "skip":
        named = "; ".join(f"{_REASONS[reason]}: {count}" for reason, count in invalid.items())
        raise ValueError(
            f"{skipped} of {rows} rows are invalid ({named}; label column {columns.label!r}); "
            "clean them or set handleInvalid='skip'"
        )
    positives = counts["train"][1] + counts["valid"][1]
    negatives = counts["train"][0] + counts["valid"][0]
    if not positives or not negatives or not all(counts["train"]):
        raise ValueError(
            f"label column {columns.label!r} has {negatives} zeros and {positives} ones "
            f"({counts['train'][0]} and {counts['train'][1]} in the training part); "
            "a click model needs both"
        )
    if skipped:
        logger.warning("%d of %d rows were skipped as invalid", skipped, rows)
    warning = too_few_events(positives, positives + negatives)
    if warning:
        logger.warning(warning)
    if not all(counts["valid"]):
        logger.warning(
            "the validation part has %d zeros and %d ones: AUC cannot choose the best epoch",
            *counts["valid"],
        )
    return TrainingData(
        train_path=f"{folder}/data/split=train",
        valid_path=f"{folder}/data/split=valid",
        inputs=inputs,
        rows=rows - skipped,
        train_rows=sum(counts["train"]),
        valid_rows=sum(counts["valid"]),
        positives=positives,
        skipped=skipped,
    )


def _files(folder: str) -> Iterator[pq.ParquetFile]:
    filesystem, path, _ = filesystem_of(folder)
    selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
    for info in filesystem.get_file_info(selector):
        if info.path.endswith(".parquet"):
            with pq.ParquetFile(filesystem.open_input_file(info.path)) as file:
                yield file


def _label_counts(folder: str) -> tuple[int, int]:
    ones = total = 0
    for file in _files(folder):
        for batch in file.iter_batches(columns=["label"], batch_size=1 << 20):
            ones += int(batch.column(0).to_numpy().sum())
            total += batch.num_rows
    return total - ones, ones


def _reason_counts(folder: str) -> dict[int, int]:
    counts: dict[int, int] = {}
    for file in _files(folder):
        for batch in file.iter_batches(columns=["reason"]):
            for reason in batch.column(0).to_pylist():
                counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))


def _new_folder(cache_dir: str | None) -> str:
    """URI of a new folder; a plain path would mean the cluster's default file system to Spark."""
    if cache_dir is None:
        return f"file://{tempfile.mkdtemp(prefix='spark_ctr-')}"
    _, _, url = filesystem_of(cache_dir)
    return f"{url}/spark_ctr-{uuid.uuid4().hex}"


def _remove(folder: str) -> None:
    try:
        filesystem, path, _ = filesystem_of(folder)
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            shutil.rmtree(path, ignore_errors=True)
        elif filesystem.get_file_info(path).type != pyarrow.fs.FileType.NotFound:
            filesystem.delete_dir(path)
    except OSError as error:
        logger.warning("could not remove the training files under %s: %s", folder, error)
