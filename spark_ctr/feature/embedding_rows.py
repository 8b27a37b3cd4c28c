"""A Spark column of the embedding rows of many columns' values."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.feature.category_text import texts_of
from spark_ctr.hashing import PADDING, ColumnRows, Vocabulary, row_plan
from spark_ctr.jvm import use_jvm_functions
from spark_ctr.stage.columns import compiled_apart

_VALUES_PER_SLOT = 4


def embedding_rows(
    dataset: DataFrame, names: Sequence[str], columns: Sequence[ColumnRows]
) -> Column:
    """Return the rows of the values of some columns, as one array<int>.

    spark_ctr's JVM function ``ctr_rows`` where the session has it, else Spark's built-in functions;
    both give what `Vocabulary.rows` gives.

    Parameters
    ----------
    dataset : DataFrame
    names : sequence of str
        Its columns.
    columns : sequence of ColumnRows
        One a name; array columns are those with ``values``.
    """
    texts = [texts_of(dataset, name) for name in names]
    if not texts:
        return F.array().cast("array<int>")
    if use_jvm_functions(dataset.sparkSession):
        return F.call_function("ctr_rows", F.lit(row_plan(columns)), *texts)
    if not any(c.values for c in columns):
        # A plain array of expressions, so that Spark can read single elements without making it.
        return F.array(*[r for t, c in zip(texts, columns, strict=True) for r in _slots(t, c)])
    return F.concat(
        *[
            _bag(t, c) if c.values else F.array(*_slots(t, c))
            for t, c in zip(texts, columns, strict=True)
        ]
    )


def _bag(texts: Column, rows: ColumnRows) -> Column:
    """Return the rows of an array's first elements, padded."""
    nothing = F.array(F.lit(None).cast("string"))
    read = F.when(F.size(texts) > 0, F.slice(texts, 1, rows.values)).otherwise(nothing)
    found = F.flatten(F.transform(read, lambda text: F.array(*_slots(text, rows))))
    padding = F.array_repeat(F.lit(PADDING), rows.width)
    return F.slice(F.concat(found, padding), 1, rows.width)


def _slots(text: Column, rows: ColumnRows) -> list[Column]:
    """Return the rows of one value, one a slot."""
    vocabulary = rows.vocabulary
    missing = F.lit(vocabulary.offset)
    if not rows.values:
        missing = F.coalesce(compiled_apart(missing), missing)
    rows_found = _tail_rows(text, vocabulary)
    if len(vocabulary.head):
        private = _private_row(text, vocabulary)
        rows_found = [F.coalesce(private, row) for row in rows_found]
    return [F.when(text.isNull(), missing).otherwise(row) for row in rows_found]


def _tail_rows(text: Column, vocabulary: Vocabulary) -> list[Column]:
    tail = vocabulary.tail

    def seeded(seed: int) -> Column:
        return F.xxhash64(text, F.lit(seed).cast("long"))

    def placed(row: Column, drawn: Column) -> Column:
        row = (row + vocabulary.first_bucket).cast("int")
        return F.when(drawn < 0, F.bitwise_not(row)).otherwise(row) if tail.signed else row

    first = seeded(tail.seed)
    if tail.slots == 1:
        return [placed(F.pmod(first, F.lit(tail.buckets)), first)]
    if tail.scheme == "double":
        return [placed(F.pmod(h, F.lit(tail.buckets)), h) for h in (first, seeded(~tail.seed))]
    quotients = tail.buckets // 2
    remainders = tail.buckets - quotients
    pair = F.pmod(first, F.lit(remainders * quotients).cast("long"))
    quotient = F.call_function("div", pair, F.lit(remainders))  # pair may exceed a double's 2**53
    return [placed(pair % remainders, first), placed(quotient + remainders, first)]


def _private_row(text: Column, vocabulary: Vocabulary) -> Column:
    """Look a value's hash up in tables that Spark folds into literals of the plan.

    Arrays indexed by the hash hold short lists, so a look-up costs a few comparisons whatever the
    vocabulary's size; a plain map literal would be searched from end to end.
    """
    slots = max(1, len(vocabulary.head) // _VALUES_PER_SLOT)
    hashes: list[list[int]] = [[] for _ in range(slots)]
    rows: list[list[int]] = [[] for _ in range(slots)]
    first = vocabulary.offset + 1
    for row, (hashed, slot) in enumerate(
        zip(vocabulary.head.tolist(), np.mod(vocabulary.head, slots).tolist(), strict=True), first
    ):
        hashes[slot].append(hashed)
        rows[slot].append(row)

    hashed = F.xxhash64(text)
    slot = F.pmod(hashed, F.lit(slots)).cast("int")

    def at_slot(lists: list[list[int]], kind: str) -> Column:
        literal = F.lit(json.dumps(lists, separators=(",", ":")))
        return F.get(F.from_json(literal, f"array<array<{kind}>>"), slot)

    # PySpark 3.5's array_position takes no column
    position = F.call_function("array_position", at_slot(hashes, "bigint"), hashed) - 1
    return F.get(at_slot(rows, "int"), position.cast("int"))
