"""HashedEmbeddingEncoder: categorical values to embedding rows, private or hashed."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import safetensors.numpy
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.feature.category_text import check_whole, is_array, texts_of
from spark_ctr.feature.embedding_rows import embedding_rows
from spark_ctr.feature.encoder_growth import EarlierEncoding, in_order
from spark_ctr.feature.encoder_params import EncoderParams
from spark_ctr.feature.encoder_state import saved_encoding
from spark_ctr.feature.frequent_values import array_lengths, frequent_values
from spark_ctr.feature.marked_columns import tell_of_unmarked
from spark_ctr.hashing import ColumnRows, TailHash, Vocabulary, row_plan
from spark_ctr.stage.base import param
from spark_ctr.stage.columns import (
    add_columns,
    column,
    field_of,
    name_key,
    with_metadata,
)
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.fitting import StageEstimator, StageModel
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.stage.params import HasVerbose
from spark_ctr.stage.persistence import PersistentStage

_SHARED = "tail"  # name of the block of rows that all columns share with sharedBuckets


class HashedEmbeddingEncoder(MetaStage, EncoderParams, HasVerbose, PersistentStage, StageEstimator):
    """Give every categorical value a row of its column's embedding table.

    Row 0 is the missing value. Values seen at least ``minCount`` times in fitting get the private
    rows 1 to H, the most frequent first (equally frequent ones in the order of their hash); every
    other value, unseen ones included, shares the ``numBuckets`` hashed rows behind them. Where
    PowerLawFeatureSelector left a plan on a column, the plan decides count, buckets and dimension.

    A value is known by the 64-bit xxHash of its UTF-8 text, so the model holds no text and its size
    does not depend on the values' length. :mod:`spark_ctr.hashing` is the specification of hash
    and rows, in NumPy.

    The output column of ids (``array<int>``) carries the table sizes and dimensions in its
    metadata; a column takes one element, or two where its tail is hashed to two rows, times the
    number of values read where it is an array. Numeric columns become one ``array<float>``.

    With ``initialModel``, an earlier fit, the model grows: every value that had a private row keeps
    its number, values newly frequent get the next ones, most frequent first, and the buckets move
    behind them. Known columns keep hash scheme, seed, buckets, dimension, pooling, and their place;
    new columns come behind them with the Params' settings; columns that are not there any more go,
    with a warning. Private rows are never taken back: fit without ``initialModel`` for that.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.
    """

    _nested_params = ("initialModel",)

    initialModel = param(
        "initialModel",
        "fitted HashedEmbeddingEncoderModel to go on from: its values keep their rows, and values "
        "newly frequent get rows behind them",
        stage_of("initialModel", "HashedEmbeddingEncoderModel"),
    )

    def _doing(self, dataset: DataFrame) -> str:
        return (
            f"finding the frequent values of {counted(len(self._resolved(dataset)[0]), 'column')}"
        )

    def _done(self, model: HashedEmbeddingEncoderModel) -> str:
        return f"{counted(sum(map(len, model._heads)), 'private row')} for frequent values"

    def _fit(self, dataset: DataFrame) -> HashedEmbeddingEncoderModel:
        initial = self._value("initialModel")
        earlier = EarlierEncoding() if initial is None else initial._encoding()
        categorical, numeric = self._resolved(dataset)
        self._check_columns(dataset, categorical, numeric)
        check_whole(dataset, categorical, "inputCols")
        named = {"categorical": "inputCols", "numeric": "numericCols"}
        unset = [kind for kind, name in named.items() if not self.isDefined(name)]
        tell_of_unmarked(dataset, unset, "HashedEmbeddingEncoder")
        key = name_key(dataset)
        categorical = in_order(categorical, earlier.names, key)
        numeric = in_order(numeric, initial._numeric if initial is not None else [], key)
        arrays = [name for name in categorical if is_array(dataset, name)]
        earlier.check(categorical, arrays, self.getSharedBuckets())
        plans = [self._plan(dataset, name) for name in categorical]
        heads = frequent_values(dataset, categorical, [plan.min_count for plan in plans])
        lengths, unread = array_lengths(dataset, categorical, self.getMaxValues())
        if not any(map(len, heads)) and dataset.isEmpty():
            raise ValueError("HashedEmbeddingEncoder: the dataset has no rows")
        shared = self.getSharedBuckets()
        widest = max((plan.dim for plan in plans), default=0)
        columns = [
            {
                "name": name,
                "scheme": self.getHashScheme(),
                "signed": self.getSignedHash(),
                "buckets": shared or plan.buckets,
                "seed": self.getSeed() + index,
                "dim": widest if shared else plan.dim,
                "values": lengths.get(name, 0),
                "pooling": self.getPooling(),
                "unread": unread.get(name, 0),
            }
            for index, (name, plan) in enumerate(zip(categorical, plans, strict=True))
        ]
        columns, heads = earlier.grown(columns, heads)
        model = HashedEmbeddingEncoderModel()._with(columns, heads, numeric, bool(shared))
        model._resetUid(self.uid)
        return self._copyValues(model)


class HashedEmbeddingEncoderModel(EncoderParams, PersistentStage, StageModel):
    """Fitted :class:`HashedEmbeddingEncoder`: adds the two feature columns."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._with([], [], [], False)
        self._rows = InvalidRows("HashedEmbeddingEncoderModel")

    def _with(
        self,
        columns: list[dict[str, Any]],
        heads: list[np.ndarray],
        numeric: list[str],
        shared: bool,
    ) -> Any:
        self._categorical, self._heads, self._numeric = columns, heads, numeric
        self._shared = shared
        return self

    @property
    def _names(self) -> list[str]:
        return [facts["name"] for facts in self._categorical]

    def _encoding(self) -> EarlierEncoding:
        """Return what a later fit goes on from."""
        vocabularies = [rows.vocabulary for rows in self._columns()]
        return EarlierEncoding(self._categorical, vocabularies, self._shared)

    def _columns(self) -> list[ColumnRows]:
        """How each column's values become row numbers."""
        ends = np.cumsum([1 + len(head) for head in self._heads]).tolist()
        rows = []
        for facts, head, end in zip(self._categorical, self._heads, ends, strict=True):
            tail = TailHash(facts["scheme"], facts["buckets"], facts["seed"], facts["signed"])
            if self._shared:
                vocabulary = Vocabulary(head, tail, end - 1 - len(head), ends[-1])
            else:
                vocabulary = Vocabulary(head, tail)
            rows.append(ColumnRows(vocabulary, facts["values"]))
        return rows

    @property
    def tables(self) -> list[dict[str, Any]]:
        """Per categorical column: name, rows of its table, private rows, buckets, dim.

        Where they are not those of a plain column, also ``slots`` (ids a row), ``pooling``,
        ``signed``, ``padded`` (array column) and ``shared`` (name of a table that several share).
        ``vocabulary`` tells vocabularies apart, and ``earlier`` names the one that it grew from.
        """
        columns = self._columns()
        blocks = [1 + len(c.vocabulary.head) for c in columns]
        tables = []
        for facts, rows, block in zip(self._categorical, columns, blocks, strict=True):
            table = {
                "name": facts["name"],
                "rows": (sum(blocks) if self._shared else block) + facts["buckets"],
                "private": block - 1,
                "buckets": facts["buckets"],
                "dim": facts["dim"],
            }
            special = {
                "slots": rows.width if rows.width > 1 else None,
                "pooling": facts["pooling"] if rows.values and facts["pooling"] != "mean" else None,
                "signed": facts["signed"],
                "padded": rows.values > 0,
                "shared": _SHARED if self._shared else None,
                "vocabulary": rows.vocabulary.fingerprint,
                "earlier": facts.get("earlier"),
            }
            tables.append(table | {key: value for key, value in special.items() if value})
        return tables

    @property
    def rowPlan(self) -> bytes:
        """The first argument of the SQL function ``ctr_rows`` (see ``DESCRIBE FUNCTION``)."""
        return row_plan(self._columns())

    @property
    def report(self) -> DataFrame:
        """A row a column: its table, and the elements of array columns left unread in fitting."""
        rows = [
            (t["name"], t["rows"], t["private"], t["buckets"], t["dim"], facts["unread"])
            for t, facts in zip(self.tables, self._categorical, strict=True)
        ]
        return SparkSession.builder.getOrCreate().createDataFrame(
            rows,
            "column string, rows long, private long, buckets long, dimension int, "
            "unread_elements long",
        )

    @property
    def skippedRows(self) -> int:
        """Invalid rows of the dataset transformed last; counted by a job the first time."""
        return self._rows.count()

    def privateValues(self, dataset: DataFrame) -> DataFrame:
        """Name the values with a private row, as far as they occur in a dataset.

        The model knows values by their hash only, so this reads the dataset.

        Returns
        -------
        DataFrame
            column string, row int, value string.
        """
        schema = "column string, row int, value string"
        found = [dataset.sparkSession.createDataFrame([], schema)]
        for name, rows in zip(self._names, self._columns(), strict=True):
            text = texts_of(dataset, name)
            plain = dataset.select((F.explode(text) if rows.values else text).alias("value"))
            scalar = ColumnRows(rows.vocabulary)
            row = F.get(embedding_rows(plain, ["value"], [scalar]), F.lit(0))
            first = rows.vocabulary.offset + 1
            found.append(
                plain.where(F.col("value").isNotNull())
                .distinct()
                .select(F.lit(name).alias("column"), row.alias("row"), "value")
                .where(F.col("row").between(first, first + len(rows.vocabulary.head) - 1))
            )
        return reduce(DataFrame.unionAll, found)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._check_columns(dataset, self._names, self._numeric)
        for facts in self._categorical:
            if is_array(dataset, facts["name"]) != (facts["values"] > 0):
                kind = field_of(dataset, facts["name"]).dataType.simpleString()
                raise TypeError(
                    f"column {facts['name']!r} (inputCols) is {kind}, but HashedEmbeddingEncoder "
                    f"was fitted on {'an array' if facts['values'] else 'single values'}"
                )
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
        ids = embedding_rows(dataset, self._names, self._columns())
        numbers = _array([_number(name) for name in self._numeric], "float")
        return add_columns(
            dataset,
            [
                with_metadata(ids, self.getCategoricalFeaturesCol(), {"tables": self.tables}),
                with_metadata(numbers, self.getNumericFeaturesCol(), {"names": self._numeric}),
            ],
        )

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        heads = {f"{i:05d}": head for i, head in enumerate(self._heads)}
        state = {
            "categorical": self._categorical,
            "numeric": self._numeric,
            "shared": self._shared,
        }
        return state, {"vocabulary.safetensors": safetensors.numpy.save(heads)}

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._with(*saved_encoding(state, payload["vocabulary.safetensors"]))


def _number(name: str) -> Column:
    number = column(name).cast("float")
    return F.when(F.abs(number) < float("inf"), number).otherwise(F.lit(0.0).cast("float"))


def _unusable(name: str) -> Column:
    # NaN is above infinity in Spark, and a null compares as null.
    return ~F.coalesce(F.abs(column(name).cast("float")) < float("inf"), F.lit(False))


def _array(items: list[Column], kind: str) -> Column:
    # Only an empty array is cast: a cast would keep Spark from reading single elements.
    return F.array(*items) if items else F.array().cast(f"array<{kind}>")
