"""A few rows of a click log, ways to break them, and how to compare what came of them."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.stage.columns import column

ROWS = 120
_SCHEMA = (
    "row int, site string, device int, price double, time timestamp, label int, weight double, "
    "held_out boolean"
)


@dataclass(frozen=True)
class ClickRows:
    """The log as it comes, after HashedEmbeddingEncoder, and with scores of some model."""

    raw: DataFrame
    encoded: DataFrame
    scored: DataFrame


def raw_rows(spark: SparkSession) -> DataFrame:
    """Return 120 clicks and impressions: few sites, some values null."""
    draw = random.Random(1)
    start = datetime.datetime(2024, 3, 10, tzinfo=datetime.UTC)
    rows = []
    for row in range(ROWS):
        site = f"site {int(8 * draw.random() ** 2)}"
        click = int(draw.random() < (0.7 if site == "site 0" else 0.2))
        rows.append(
            (
                row,
                None if row % 17 == 3 else site,
                draw.randrange(4),
                None if row % 13 == 5 else draw.lognormvariate(0, 1),
                start + datetime.timedelta(minutes=97 * row),
                click,
                1.0 + row % 3,
                row % 4 == 0,
            )
        )
    return spark.createDataFrame(rows, _SCHEMA)


@dataclass(frozen=True)
class Break:
    """Values that make a row invalid; each spoils one row.

    Attributes
    ----------
    name : str
    values : dict of column -> list of SQL expressions
    cast, cleared : dict of column -> type, column -> SQL
        Done to a whole column first: a cast, and what its nulls become.
    in_fit, in_transform : bool
        Where the stage looks at these values.
    keep_in_fit : bool
        Whether fitting with handleInvalid="keep" goes on; a label cannot be kept.
    """

    name: str
    values: dict[str, list[str]]
    cast: dict[str, str] = field(default_factory=dict)
    cleared: dict[str, str] = field(default_factory=dict)
    in_fit: bool = True
    in_transform: bool = True
    keep_in_fit: bool = True

    @property
    def rows(self) -> int:
        """How many rows are spoiled."""
        return sum(map(len, self.values.values()))

    def whole(self, data: DataFrame) -> DataFrame:
        """Return the data before any row is spoiled."""
        for name, kind in self.cast.items():
            data = data.withColumn(name, F.col(name).cast(kind))
        for name, value in self.cleared.items():
            data = set_column(data, name, F.coalesce(F.col(name), F.expr(value)))
        return data

    def apply(self, data: DataFrame) -> DataFrame:
        """Spoil every third row from row 1 on, one value each."""
        data = self.whole(data)
        row = 1
        for name, values in self.values.items():
            changed = F.col(name)
            for value in values:
                kind = data.schema[name].dataType
                changed = F.when(F.col("row") == row, F.expr(value).cast(kind)).otherwise(changed)
                row += 3
            data = set_column(data, name, changed)
        return data


def set_column(data: DataFrame, name: str, value: Any) -> DataFrame:
    """Replace a column; spark_ctr's metadata stays on it."""
    kept = value.alias(name, metadata=data.schema[name].metadata or {})
    # Not withColumn, which drops an alias's metadata on Spark 4.3's Connect.
    return data.select([kept if other == name else column(other) for other in data.columns])


def rows_of(data: DataFrame) -> list[dict[str, Any]]:
    """Rows in the order of ``row``, as plain Python values."""
    rows = [_plain(row.asDict(recursive=True)) for row in data.collect()]
    return sorted(rows, key=lambda row: row["row"])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if hasattr(value, "toArray"):
        return [float(x) for x in value.toArray()]
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def assert_same_rows(
    found: list[dict[str, Any]], wanted: list[dict[str, Any]], tolerance: float = 0.0
) -> None:
    """Compare rows of :func:`rows_of`; numbers may differ by the tolerance."""
    assert len(found) == len(wanted)
    for left, right in zip(found, wanted, strict=True):
        assert list(left) == list(right)
        for name in left:
            assert _close(left[name], right[name], tolerance), (name, left, right)


def _close(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(
            _close(a, b, tolerance) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or left == right or abs(left - right) <= tolerance
    return left == right


def only(rows: list[dict[str, Any]], names: Iterable[str]) -> list[dict[str, Any]]:
    """Keep some columns of rows of :func:`rows_of`."""
    names = list(names)
    return [{name: row[name] for name in names} for row in rows]
