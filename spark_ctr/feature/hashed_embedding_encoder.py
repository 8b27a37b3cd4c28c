"""HashedEmbeddingEncoder: categorical values to embedding rows, private or hashed."""

from __future__ import annotations

import json
from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.ml.param import TypeConverters
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.stage.base import number, param
from spark_ctr.stage.columns import (
    CATEGORICAL_TYPES,
    NUMERIC_TYPES,
    add_columns,
    check_distinct,
    check_new,
    column,
    columns_of_kind,
    compiled_apart,
    field,
    metadata_of,
    with_metadata,
)
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.params import HasFeatures, HasInputs, HasInvalid, HasRandomSeed
from spark_ctr.stage.persistence import PersistentStage

MAX_PRIVATE_LENGTH = 1024  # longer values are always hashed, which bounds the model's size
_VALUES_PER_SLOT = 4


class _EncoderParams(HasInputs, HasFeatures, HasInvalid, HasRandomSeed):
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
        "hashed rows for all other values, in columns without a plan",
        number("numBuckets", int, at_least=1, at_most=1 << 30),
        64,
    )
    embeddingDim = param(
        "embeddingDim",
        "embedding dimension, in columns without a plan",
        number("embeddingDim", int, at_least=1, at_most=1024),
        8,
    )

    def _resolved(self, dataset: DataFrame) -> tuple[list[str], list[str]]:
        """Categorical and numeric columns, from the Params or from column metadata."""
        categorical = self._value("inputCols")
        if categorical is None:
            categorical = [
                name
                for name in columns_of_kind(dataset, "categorical")
                if metadata_of(dataset.schema[name]).get("plan", {}).get("decision") != "drop"
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

    def _check_columns(
        self, dataset: DataFrame, categorical: list[str], numeric: list[str]
    ) -> None:
        check_distinct(categorical, "inputCols")
        check_distinct(numeric, "numericCols")
        for name in categorical:
            field(dataset, name, "inputCols", CATEGORICAL_TYPES)
        for name in numeric:
            field(dataset, name, "numericCols", NUMERIC_TYPES)
        check_new(dataset, [self.getCategoricalFeaturesCol()], "categoricalFeaturesCol")
        check_new(dataset, [self.getNumericFeaturesCol()], "numericFeaturesCol")
        check_distinct(
            [self.getCategoricalFeaturesCol(), self.getNumericFeaturesCol()],
            "categoricalFeaturesCol and numericFeaturesCol",
        )


class HashedEmbeddingEncoder(_EncoderParams, PersistentStage, Estimator):
    """Give every categorical value a row of its column's embedding table.

    Row 0 is the missing value. Values seen at least ``minCount`` times in fitting get the private
    rows 1 to H, the most frequent first; every other value, unseen ones included, shares the
    ``numBuckets`` hashed rows behind them: ``1 + H + pmod(xxhash64(value, seed), numBuckets)``
    with Spark's built-in 64-bit xxHash of the value's UTF-8 text, chained with the column's seed.
    Where PowerLawFeatureSelector left a plan on a column, the plan decides count, buckets and
    dimension.

    The output column of ids (``array<int>``, one id a column) carries the table sizes and
    dimensions in its metadata; numeric columns become one ``array<float>``.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.
    """

    def _fit(self, dataset: DataFrame) -> HashedEmbeddingEncoderModel:
        categorical, numeric = self._resolved(dataset)
        self._check_columns(dataset, categorical, numeric)
        plans = [self._plan(dataset, name) for name in categorical]
        found = _frequent_values(dataset, categorical, [p["minCount"] for p in plans])
        if not any(found) and dataset.isEmpty():
            raise ValueError("HashedEmbeddingEncoder: the dataset has no rows")
        tables = [
            {
                "name": name,
                "buckets": plan["buckets"],
                "dim": plan["dimension"],
                "seed": self.getSeed() + index,
                "values": [value for value, _ in values],
                "hashes": [hashed for _, hashed in values],
            }
            for index, (name, plan, values) in enumerate(
                zip(categorical, plans, found, strict=True)
            )
        ]
        model = HashedEmbeddingEncoderModel()._with(tables, numeric)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _plan(self, dataset: DataFrame, name: str) -> dict[str, int]:
        plan = metadata_of(dataset.schema[name]).get("plan", {})
        return {
            "minCount": plan.get("minCount", self.getMinCount()),
            "buckets": plan.get("buckets", self.getNumBuckets()),
            "dimension": plan.get("dimension", self.getEmbeddingDim()),
        }


class HashedEmbeddingEncoderModel(_EncoderParams, PersistentStage, Model):
    """Fitted :class:`HashedEmbeddingEncoder`: adds the two feature columns."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._tables: list[dict[str, Any]] = []
        self._numeric: list[str] = []
        self._rows = InvalidRows("HashedEmbeddingEncoderModel")

    def _with(self, tables: list[dict[str, Any]], numeric: list[str]) -> Any:
        self._tables, self._numeric = tables, numeric
        return self

    @property
    def tables(self) -> list[dict[str, Any]]:
        """Per categorical column: name, rows (1 + private + buckets), private, buckets, dim."""
        return [
            {
                "name": table["name"],
                "rows": 1 + len(table["values"]) + table["buckets"],
                "private": len(table["values"]),
                "buckets": table["buckets"],
                "dim": table["dim"],
            }
            for table in self._tables
        ]

    @property
    def report(self) -> DataFrame:
        """``tables`` as a DataFrame."""
        rows = [(t["name"], t["rows"], t["private"], t["buckets"], t["dim"]) for t in self.tables]
        return SparkSession.builder.getOrCreate().createDataFrame(
            rows, "column string, rows long, private long, buckets long, dimension int"
        )

    @property
    def skippedRows(self) -> int:
        """Rows dropped by the last transformed dataset; waits for an action on it."""
        return self._rows.count()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._check_columns(dataset, [t["name"] for t in self._tables], self._numeric)
        invalid = F.lit(False)
        for name in self._numeric:
            invalid = invalid | _unusable(name)
        dataset = self._rows.apply(
            dataset,
            invalid,
            self.getHandleInvalid(),
            f"a numeric column ({', '.join(self._numeric)}) is null, NaN or infinite",
            self.uid,
        )
        ids = _array([_row_of(table) for table in self._tables], "int")
        numbers = _array([_number(name) for name in self._numeric], "float")
        return add_columns(
            dataset,
            [
                with_metadata(ids, self.getCategoricalFeaturesCol(), {"tables": self.tables}),
                with_metadata(numbers, self.getNumericFeaturesCol(), {"names": self._numeric}),
            ],
        )

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        text = json.dumps(self._tables, ensure_ascii=False, separators=(",", ":"))
        return {"numeric": self._numeric}, {"vocabulary.json": text.encode()}

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._with(json.loads(payload["vocabulary.json"]), state["numeric"])


def _frequent_values(
    dataset: DataFrame, names: list[str], min_counts: list[int]
) -> list[list[tuple[str, int]]]:
    """Per column the frequent values and their hashes, most frequent first."""
    found: list[list[tuple[str, int]]] = [[] for _ in names]
    if not names:
        return found
    pairs = F.array(
        *[
            F.struct(F.lit(index).alias("column"), column(name).cast("string").alias("value"))
            for index, name in enumerate(names)
        ]
    )
    cut = F.element_at(F.array(*[F.lit(count) for count in min_counts]), F.col("column") + 1)
    rows = (
        dataset.select(F.explode(pairs).alias("pair"))
        .select("pair.column", "pair.value")
        .where(F.col("value").isNotNull() & (F.length("value") <= MAX_PRIVATE_LENGTH))
        .groupBy("column", "value")
        .count()
        .where(F.col("count") >= cut)
        .select("column", "value", "count", F.xxhash64("value").alias("hash"))
        .collect()
    )
    for row in sorted(rows, key=lambda row: (-row["count"], row["value"])):
        found[row["column"]].append((row["value"], row["hash"]))
    return found


def _row_of(table: dict[str, Any]) -> Column:
    value = column(table["name"]).cast("string")
    hashed = F.pmod(F.xxhash64(value, F.lit(table["seed"]).cast("long")), F.lit(table["buckets"]))
    row = (hashed + 1 + len(table["values"])).cast("int")
    if table["values"]:
        row = F.coalesce(_private_row(table, value), row)
    missing = F.coalesce(compiled_apart(F.lit(0)), F.lit(0))
    return F.when(value.isNull(), missing).otherwise(row)


def _private_row(table: dict[str, Any], value: Column) -> Column:
    """Look the value up in a hash table that Spark folds into one literal of the plan.

    An array indexed by the value's hash holds small maps, so a look-up costs a few comparisons
    whatever the vocabulary's size; a plain map literal would be searched from end to end.
    """
    slots = max(1, len(table["values"]) // _VALUES_PER_SLOT)
    maps: list[dict[str, int]] = [{} for _ in range(slots)]
    for row, (text, hashed) in enumerate(zip(table["values"], table["hashes"], strict=True), 1):
        maps[hashed % slots][text] = row
    literal = F.lit(json.dumps(maps, ensure_ascii=False, separators=(",", ":")))
    slot = F.pmod(F.xxhash64(value), F.lit(slots)) + 1
    return F.element_at(
        F.element_at(F.from_json(literal, "array<map<string,int>>"), slot.cast("int")), value
    )


def _number(name: str) -> Column:
    number = column(name).cast("float")
    return F.when(F.abs(number) < float("inf"), number).otherwise(F.lit(0.0).cast("float"))


def _unusable(name: str) -> Column:
    # NaN is above infinity in Spark, and a null compares as null.
    return ~F.coalesce(F.abs(column(name).cast("float")) < float("inf"), F.lit(False))


def _array(items: list[Column], kind: str) -> Column:
    # Only an empty array is cast: a cast would keep Spark from reading single elements.
    return F.array(*items) if items else F.array().cast(f"array<{kind}>")
