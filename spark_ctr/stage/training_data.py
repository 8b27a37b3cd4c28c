"""A DataFrame as Parquet files for training: checked, split, in an order of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.networks.inputs import Inputs, Table
from spark_ctr.stage.columns import NUMERIC_TYPES, column, field, metadata_of
from spark_ctr.stage.feature_columns import elements, invalid_features, usable_elements
from spark_ctr.stage.negative_sampling import DROPPED, copy_number, logit_shift, sample_negatives
from spark_ctr.stage.training_files import (
    labelled_rows,
    new_folder,
    reason_counts,
    remove_folder,
    row_count,
)
from spark_ctr.stage.validation_time import TIME_TYPES, latest_rows, time_of
from spark_ctr.training.metrics import log_odds
from spark_ctr.training.sample_size import too_few_events

logger = logging.getLogger("spark_ctr")
_FILES = 8
# Small enough to decode in a processor's cache and to deal evenly to several ranks; the size counts
# dictionary-encoded values, so that more rows fit. Measured in benchmarks/feeds.py.
_ROWS_PER_ROW_GROUP = 32_768
_SPLIT_STEPS = 1_000_000
_REASONS = (
    "label is null or not 0 or 1",
    "weight is null, negative or not finite",
    "features",
    "validation time is null or not finite",
)


@dataclass(frozen=True)
class TrainingColumns:
    """Which columns of a dataset are trained on, and how it is split.

    Attributes
    ----------
    label, weight, validation, validation_time : str or None
        Label, sample weight, boolean validation indicator, and the time whose latest rows are
        validation rows; at most one of the last two.
    categorical, numeric : str
        The feature columns of HashedEmbeddingEncoder.
    validation_fraction : float
        Share of rows kept for validation where there is no indicator.
    negative_sampling_rate : float
        Share of the training rows with label 0 that is kept.
    seed : int
    handle_invalid : {"error", "skip", "keep"}
        "keep" reads an invalid feature as missing, and a row without a time is a training row; an
        invalid label is an error even then.
    cache_dir : str or None
        Folder that driver and executors share; None: a temporary one on this machine.
    """

    label: str
    weight: str | None
    validation: str | None
    validation_time: str | None
    categorical: str
    numeric: str
    validation_fraction: float
    negative_sampling_rate: float
    seed: int
    handle_invalid: str
    cache_dir: str | None


@dataclass(frozen=True)
class TrainingData:
    """Training files on disk, and what was counted while they were written.

    Attributes
    ----------
    train_path, valid_path : str
        Folders of Parquet files; the latter need not exist where there are no validation rows.
    inputs : Inputs
    rows, train_rows, valid_rows, positives : int
        Rows of both parts, of each, and those of both with label 1.
    skipped, dropped_negatives : int
        Rows left out as invalid, and training rows left out by negative sampling.
    logit_shift : float
        What the loss on training rows adds to the logits, see `negative_sampling.logit_shift`.
    log_odds : float
        Of a click in the training rows, by weight and before sampling; 0 where a class has no
        weight.
    digest : str
        Equal for the same rows in the same parts, however the dataset is partitioned; taken from
        label, weight and the first feature in the order of the rows' content.
    """

    train_path: str
    valid_path: str
    inputs: Inputs
    rows: int
    train_rows: int
    valid_rows: int
    positives: int
    skipped: int
    dropped_negatives: int
    logit_shift: float
    log_odds: float
    digest: str

    @property
    def folder(self) -> str:
        """Folder that both parts lie in; it goes with them."""
        return self.train_path.rpartition("/data/")[0]


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
    if columns.validation_time is not None:
        field(dataset, columns.validation_time, "validationTimeCol", TIME_TYPES)
        if columns.validation is not None:
            raise ValueError(
                f"validationIndicatorCol ({columns.validation!r}) and validationTimeCol "
                f"({columns.validation_time!r}) both choose the validation rows: clear one of them"
            )
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
    folder = new_folder(columns.cache_dir)
    try:
        _write(dataset, columns, inputs, folder)
        yield _checked(folder, columns, inputs, _expected_rows(dataset, columns))
    finally:
        remove_folder(folder)


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
        if columns.validation_time is not None:
            reason = reason.when(time_of(dataset, columns.validation_time).isNull(), 3)
    else:
        flat = usable_elements(inputs, flat)
    chosen = _is_validation(dataset, columns)
    rows = dataset.select(
        *flat,
        label.cast("float").alias("label"),
        weight.cast("float").alias("weight"),
        reason.cast("int").alias("reason"),
        (F.lit(None).cast("boolean") if chosen is None else chosen).alias("validation"),
    )
    names = [f"c{i}" for i in range(inputs.ids_width)]
    names += [f"n{i}" for i in range(len(inputs.numeric))] + ["label", "weight"]
    rows = rows.withColumn("place", F.xxhash64(*names, F.lit(columns.seed)))
    rows = rows.repartition(_FILES, "place").withColumn("copy", copy_number())
    if chosen is None:
        own = F.when(F.col("copy") > 1, F.xxhash64("place", "copy")).otherwise(F.xxhash64("place"))
        steps = int(columns.validation_fraction * _SPLIT_STEPS)
        rows = rows.withColumn("validation", F.pmod(own, F.lit(_SPLIT_STEPS)) < steps)
    split = (
        F.when(F.col("reason").isNotNull(), "invalid")
        .when(F.col("validation"), "valid")
        .otherwise("train")
    )
    (
        sample_negatives(rows.withColumn("split", split), columns.negative_sampling_rate)
        .sortWithinPartitions("split", "place")
        .drop("validation", "place", "copy")
        .write.partitionBy("split")
        .option("parquet.block.size", _ROWS_PER_ROW_GROUP * 4 * len(names))
        .parquet(f"{folder}/data")
    )


def _expected_rows(dataset: DataFrame, columns: TrainingColumns) -> int | None:
    """Rows to find on disk, where executors may have written to disks of their own."""
    master = dataset.sparkSession.conf.get("spark.master", "") or ""
    return None if columns.cache_dir or master.startswith("local") else dataset.count()


def _is_validation(dataset: DataFrame, columns: TrainingColumns) -> Column | None:
    """Return whether a row is for validation; None where validation rows are drawn."""
    if columns.validation_time is not None:
        return latest_rows(dataset, columns.validation_time, columns.validation_fraction)
    if columns.validation is None:
        return None
    return F.coalesce(column(columns.validation), F.lit(False))


def _checked(
    folder: str, columns: TrainingColumns, inputs: Inputs, expected: int | None
) -> TrainingData:
    digested = ["label", "weight", "c0" if inputs.ids_width else "n0"]
    train, valid = (
        labelled_rows(f"{folder}/data/split={split}", digested) for split in ("train", "valid")
    )
    dropped = row_count(f"{folder}/data/split={DROPPED}")
    invalid = reason_counts(f"{folder}/data/split=invalid")
    skipped = sum(invalid.values())
    rows = train.rows + valid.rows + dropped + skipped
    if expected is not None and rows != expected:
        raise ValueError(
            f"the driver sees {rows} of the {expected} training rows written under {folder}: "
            "set cacheDir to a folder that the driver and all executors share"
        )
    if rows == 0:
        raise ValueError(f"the dataset has no rows to train on (written to {folder})")
    if invalid and columns.handle_invalid != "skip":
        named = "; ".join(f"{_REASONS[reason]}: {count}" for reason, count in invalid.items())
        raise ValueError(
            f"{skipped} of {rows} rows are invalid ({named}; label column {columns.label!r}); "
            "clean them or set handleInvalid='skip'"
        )
    positives, negatives = train.ones + valid.ones, train.zeros + valid.zeros
    if not train.ones or not train.zeros:
        sampled = f", where negativeSamplingRate left out {dropped} zeros" if dropped else ""
        raise ValueError(
            f"label column {columns.label!r} has {negatives} zeros and {positives} ones "
            f"({train.zeros} and {train.ones} in the training part{sampled}); "
            "a click model needs both"
        )
    if skipped:
        logger.warning("%d of %d rows were skipped as invalid", skipped, rows)
    warning = too_few_events(positives, positives + negatives)
    if warning:
        logger.warning(warning)
    if not valid.ones or not valid.zeros:
        logger.warning(
            "the validation part has %d zeros and %d ones: AUC cannot choose the best epoch",
            valid.zeros,
            valid.ones,
        )
    shift = logit_shift(columns.negative_sampling_rate)
    return TrainingData(
        train_path=f"{folder}/data/split=train",
        valid_path=f"{folder}/data/split=valid",
        inputs=inputs,
        rows=train.rows + valid.rows,
        train_rows=train.rows,
        valid_rows=valid.rows,
        positives=positives,
        skipped=skipped,
        dropped_negatives=dropped,
        logit_shift=shift,
        log_odds=log_odds(train.weight_ones, train.weight_zeros) - shift,
        digest=f"{train.digest}-{valid.digest}",
    )
