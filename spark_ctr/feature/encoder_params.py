"""Params that HashedEmbeddingEncoder and its model share, and the columns they name."""

from __future__ import annotations

from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame

from spark_ctr.hashing import SCHEMES
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import (
    NUMERIC_TYPES,
    categorical_field,
    check_distinct,
    check_new,
    columns_of_kind,
    field,
    field_of,
    metadata_of,
)
from spark_ctr.stage.params import HasFeatures, HasInputs, HasInvalid, HasRandomSeed
from spark_ctr.tables import ColumnPlan


class EncoderParams(HasInputs, HasFeatures, HasInvalid, HasRandomSeed):
    """Params of the encoder and its model."""

    numericCols = param(
        "numericCols",
        "numeric columns; unset: every column that an earlier spark_ctr stage marked as numeric",
        TypeConverters.toListString,
    )
    minCount = param(
        "minCount",
        "values seen at least this often get a private row, in columns without a plan from "
        "PowerLawFeatureSelector",
        number("minCount", int, at_least=1),
        2,
    )
    numBuckets = param(
        "numBuckets",
        "hashed rows for all other values, in columns without a plan; where frequent values have "
        "private rows, one was best in benchmarks.hashing",
        number("numBuckets", int, at_least=1, at_most=1 << 30),
        1,
    )
    embeddingDim = param(
        "embeddingDim",
        "embedding dimension, in columns without a plan",
        number("embeddingDim", int, at_least=1, at_most=1024),
        8,
    )
    hashScheme = param(
        "hashScheme",
        "how a value without a private row is hashed: 'modulo' to one row, 'double' to the mean of "
        "two, 'quotient_remainder' to the mean of one row each of two halves",
        one_of("hashScheme", *SCHEMES),
        "double",
    )
    signedHash = param(
        "signedHash",
        "whether a hashed row counts positively or negatively, by another bit of the hash",
        TypeConverters.toBoolean,
        False,
    )
    sharedBuckets = param(
        "sharedBuckets",
        "if above 0, all columns share one table with so many hashed rows, instead of the buckets "
        "of their plans; its dimension is the largest of theirs",
        number("sharedBuckets", int, at_least=0, at_most=1 << 30),
        0,
    )
    pooling = param(
        "pooling",
        "how the values of an array column become one embedding: 'mean' or 'sum'",
        one_of("pooling", "mean", "sum"),
        "mean",
    )
    maxValues = param(
        "maxValues",
        "how many elements of an array column are read, from the first on",
        number("maxValues", int, at_least=1, at_most=1024),
        16,
    )

    def _resolved(self, dataset: DataFrame) -> tuple[list[str], list[str]]:
        """Categorical and numeric columns, from the Params or from column metadata."""
        categorical = self._value("inputCols")
        if categorical is None:
            categorical = [
                name
                for name in columns_of_kind(dataset, "categorical")
                if self._plan(dataset, name).kept
            ]
        numeric = self._value("numericCols")
        if numeric is None:
            numeric = columns_of_kind(dataset, "numeric")
        if not categorical and not numeric:
            raise ValueError(
                "HashedEmbeddingEncoder has no input: set inputCols or numericCols, or run "
                "ClickLogCleaner before it"
            )
        return categorical, numeric

    def _plan(self, dataset: DataFrame, name: str) -> ColumnPlan:
        """Return the plan of a column: the selector's, or that of the Params."""
        own = ColumnPlan(self.getMinCount(), self.getNumBuckets(), self.getEmbeddingDim())
        return own.described(metadata_of(field_of(dataset, name)).get("plan", {}))

    def _check_columns(
        self, dataset: DataFrame, categorical: list[str], numeric: list[str]
    ) -> None:
        check_distinct(dataset, categorical, "inputCols")
        check_distinct(dataset, numeric, "numericCols")
        for name in categorical:
            categorical_field(dataset, name, "inputCols")
        for name in numeric:
            field(dataset, name, "numericCols", NUMERIC_TYPES)
        check_new(dataset, [self.getCategoricalFeaturesCol()], "categoricalFeaturesCol")
        check_new(dataset, [self.getNumericFeaturesCol()], "numericFeaturesCol")
        check_distinct(
            dataset,
            [self.getCategoricalFeaturesCol(), self.getNumericFeaturesCol()],
            "categoricalFeaturesCol and numericFeaturesCol",
        )
