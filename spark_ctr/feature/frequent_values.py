"""What HashedEmbeddingEncoder measures: frequent values, and the lengths of arrays."""

from __future__ import annotations

import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from spark_ctr.feature.category_text import is_array
from spark_ctr.feature.value_counts import count_values
from spark_ctr.stage.columns import column


def frequent_values(
    dataset: DataFrame, names: list[str], min_counts: list[int]
) -> list[np.ndarray]:
    """Return per column the hashes of the frequent values, most frequent first; int64."""
    found = [np.zeros(0, dtype=np.int64) for _ in names]
    if not names:
        return found
    cut = F.element_at(F.array(*[F.lit(count) for count in min_counts]), F.col("column") + 1)
    counted = F.struct((-F.col("rows")).alias("order"), "hash")
    rows = (
        count_values(dataset, names)
        .where(F.col("hash").isNotNull() & (F.col("rows") >= cut))
        .groupBy("column")
        .agg(F.transform(F.sort_array(F.collect_list(counted)), lambda v: v["hash"]).alias("hash"))
        .collect()
    )
    for row in rows:
        found[row["column"]] = np.array(row["hash"], dtype=np.int64)
    return found


def array_lengths(
    dataset: DataFrame, names: list[str], limit: int
) -> tuple[dict[str, int], dict[str, int]]:
    """Return of each array column the number of elements to read, and how many are left unread."""
    arrays = [name for name in names if is_array(dataset, name)]
    if not arrays:
        return {}, {}
    sizes = [F.greatest(F.size(column(name)), F.lit(1)) for name in arrays]
    beyond = [F.greatest(size - limit, F.lit(0)) for size in sizes]
    found = dataset.agg(
        F.array(*[F.max(size) for size in sizes]).alias("longest"),
        F.array(*[F.sum(more) for more in beyond]).alias("unread"),
    ).collect()[0]
    longest = [min(limit, size or 1) for size in found["longest"]]
    unread = [count or 0 for count in found["unread"]]
    return dict(zip(arrays, longest, strict=True)), dict(zip(arrays, unread, strict=True))
