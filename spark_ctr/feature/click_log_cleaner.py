"""ClickLogCleaner: raw columns of a click log to clean categoricals and standardised numerics."""

from __future__ import annotations

import logging
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.feature.category_text import check_whole, is_floating, no_integer, texts_of
from spark_ctr.feature.cleaner_params import CleanerParams, not_finite
from spark_ctr.feature.cleaner_state import check_state
from spark_ctr.feature.quantile_buckets import (
    boundaries,
    bucket,
    free_buckets,
    heavy_values,
    shares,
)
from spark_ctr.feature.standardisation import Frame, Standardisation
from spark_ctr.stage.columns import add_columns, column, with_metadata
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.fitting import StageEstimator, StageModel
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.params import HasVerbose
from spark_ctr.stage.persistence import ModelFileError, PersistentStage

logger = logging.getLogger("spark_ctr")
_QUANTILE_ACCURACY = 100_000
_CLIP = 10.0


class ClickLogCleaner(CleanerParams, HasVerbose, PersistentStage, StageEstimator):
    """Clean the raw columns of a click log.

    Categorical values become trimmed strings with white space folded; null, empty and
    placeholder values become null. Each element of an array is cleaned likewise, and missing ones
    are left out; an array without any other is null. A floating-point number in a categorical
    column is taken for the integer that it was before nulls came beside it: 3.0 is "3".
    Numbers are made finite, transformed and standardised with the fitted mean and standard
    deviation (missing becomes the mean, 0 after standardising, and values beyond 10 standard
    deviations are clipped), or cut at fitted quantiles into a categorical bucket number. A
    timestamp gives hour (0-23) and weekday (0 = Monday).
    Input columns stay as they are; cleaned columns are added.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    Examples
    --------
    >>> spark = spark_ctr.session().getOrCreate()   # doctest: +SKIP
    >>> log = spark.read.parquet("clicks.parquet")  # doctest: +SKIP
    >>> cleaner = ClickLogCleaner(categoricalCols=["site"], numericCols=["price"])
    >>> model = cleaner.fit(log)                # doctest: +SKIP
    >>> model.report.show()                     # doctest: +SKIP
    """

    def _doing(self, dataset: DataFrame) -> str:
        columns = self.getCategoricalCols() + self.getNumericCols()
        columns += [name for name in (self._value("timestampCol"),) if name is not None]
        return f"cleaning {counted(len(columns), 'column')}"

    def _done(self, model: ClickLogCleanerModel) -> str:
        found = model._statistics
        lost = {kind: sum(row[kind] for row in found["report"]) for kind in ("missing", "invalid")}
        words = [counted(amount, f"{kind} value") for kind, amount in lost.items()]
        if found["skipped"]:
            words.append(f"{counted(found['skipped'], 'row')} skipped")
        return f"{counted(found['rows'], 'row')}, {', '.join(words)}"

    def _fit(self, dataset: DataFrame) -> ClickLogCleanerModel:
        self._check(dataset)
        check_whole(dataset, self.getCategoricalCols(), "categoricalCols")
        skipped = 0
        if self.getHandleInvalid() == "skip":
            invalid = self._invalid(dataset)
            skipped = dataset.filter(invalid).count()
            dataset = dataset.filter(~invalid)
        aggregates = [F.count(F.lit(1)).alias("rows")]
        for index, name in enumerate(self.getCategoricalCols()):
            aggregates += self._categorical_counts(dataset, name, f"c{index}")
        for index, name in enumerate(self.getNumericCols()):
            aggregates += self._numeric_counts(dataset, name, f"n{index}")
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            aggregates += [
                _count(column(timestamp).isNull()).alias("t_missing"),
                _count(column(timestamp).isNotNull() & self._seconds(dataset).isNull()).alias(
                    "t_invalid"
                ),
            ]
        found = dataset.agg(*aggregates).collect()[0].asDict()
        if found["rows"] == 0:
            raise ValueError(f"ClickLogCleaner: the dataset has no rows ({skipped} were skipped)")
        self._refuse_invalid(found)
        report = [
            _report(name, "categorical", found, f"c{index}")
            for index, name in enumerate(self.getCategoricalCols())
        ]
        report += [
            _report(name, "numeric", found, f"n{index}")
            for index, name in enumerate(self.getNumericCols())
        ]
        if timestamp is not None:
            report.append(_report(timestamp, "timestamp", found, "t"))
            _tell_of_times(report[-1])
        statistics = {
            "rows": found["rows"],
            "skipped": skipped,
            "numeric": self._numeric_facts(dataset, found),
            "report": report,
        }
        model = ClickLogCleanerModel()._with(statistics)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _categorical_counts(self, dataset: DataFrame, name: str, key: str) -> list[Column]:
        raw, clean = texts_of(dataset, name), self._categorical(dataset, name)
        invalid = no_integer(name) if is_floating(dataset, name) else F.lit(False)
        return [
            _count(clean.isNull() & ~F.coalesce(invalid, F.lit(False))).alias(f"{key}_missing"),
            _count(invalid).alias(f"{key}_invalid"),
            _count(invalid | (raw.isNotNull() & ~raw.eqNullSafe(clean))).alias(f"{key}_changed"),
        ]

    def _numeric_counts(self, dataset: DataFrame, name: str, key: str) -> list[Column]:
        scaled, _ = self._scaled(dataset, name)
        statistics = [
            _count(column(name).isNull()).alias(f"{key}_missing"),
            _count(not_finite(column(name))).alias(f"{key}_invalid"),
            _count(self._finite(name).isNull()).alias(f"{key}_changed"),
            F.min(scaled).alias(f"{key}_low"),
            F.max(scaled).alias(f"{key}_high"),
        ]
        if "quantile" in self.getNumericTransform():
            statistics.append(
                _quantiles(self._finite(name), self.getNumBuckets()).alias(f"{key}_quantiles")
            )
        return statistics

    def _numeric_facts(self, dataset: DataFrame, found: dict[str, Any]) -> dict[str, Any]:
        """Moments of every numeric column, and its buckets' boundaries, from a second pass.

        Moments are measured from the middle of the numbers, which the first pass has found, or a
        large mean would leave no digits for the deviation. The buckets that a value which fills
        several of them frees are spread over the other values, or a column that is mostly zero
        would be left with two buckets.
        """
        names, buckets = self.getNumericCols(), self.getNumBuckets()
        frames = {
            name: Frame.around(found[f"n{index}_low"], found[f"n{index}_high"])
            for index, name in enumerate(names)
            if found[f"n{index}_low"] is not None
        }
        first = {name: found.get(f"n{i}_quantiles") or [] for i, name in enumerate(names)}
        aggregates = [F.count(F.lit(1)).alias("rows")]
        for index, name in enumerate(names):
            if name in frames:
                measured = frames[name].measure(*self._scaled(dataset, name))
                aggregates.append(F.avg(measured).alias(f"mean{index}"))
                aggregates.append(F.stddev_samp(measured).alias(f"std{index}"))
            free = free_buckets(first[name], buckets)
            if free:
                number = self._finite(name).cast(T.DoubleType())  # of a boolean, too
                rest = F.when(~number.isin(heavy_values(first[name])), number)
                aggregates.append(_quantiles(rest, free).alias(f"rest{index}"))
        second = dataset.agg(*aggregates).collect()[0].asDict() if frames else {}
        facts = {}
        for index, name in enumerate(names):
            frame = frames.get(name, Frame(0.0, 1.0, 0.0))
            facts[name] = Standardisation.of(
                frame, second.get(f"mean{index}", 0.0), second.get(f"std{index}")
            ).facts()
            if "quantile" in self.getNumericTransform():
                facts[name]["cuts"] = boundaries(first[name], second.get(f"rest{index}") or [])
        return facts

    def _refuse_invalid(self, found: dict[str, Any]) -> None:
        if self.getHandleInvalid() != "error":
            return
        columns = {"c": self.getCategoricalCols(), "n": self.getNumericCols()}
        bad = {
            name: found[f"{key}{index}_invalid"]
            for key, names in columns.items()
            for index, name in enumerate(names)
            if found[f"{key}{index}_invalid"]
        }
        if found.get("t_invalid"):
            bad[self.getTimestampCol()] = found["t_invalid"]
        if bad:
            counts = ", ".join(f"{name!r}: {count}" for name, count in bad.items())
            raise ValueError(
                f"ClickLogCleaner: NaN, infinite, broken or unreadable values by column: {counts}; "
                "use handleInvalid='skip' or 'keep' to go on"
            )


class ClickLogCleanerModel(CleanerParams, PersistentStage, StageModel):
    """Fitted :class:`ClickLogCleaner`: adds the cleaned columns."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._statistics: dict[str, Any] = {"rows": 0, "skipped": 0, "numeric": {}, "report": []}
        self._rows = InvalidRows("ClickLogCleanerModel")

    def _with(self, statistics: dict[str, Any]) -> ClickLogCleanerModel:
        self._statistics = statistics
        return self

    @property
    def report(self) -> DataFrame:
        """One row a column: rows, missing, placeholders, invalid and changed values."""
        from pyspark.sql import SparkSession

        rows = [
            (r["column"], r["kind"], r["rows"], r["missing"], r["invalid"], r["changed"])
            for r in self._statistics["report"]
        ]
        return SparkSession.builder.getOrCreate().createDataFrame(
            rows, "column string, kind string, rows long, missing long, invalid long, changed long"
        )

    @property
    def skippedInFit(self) -> int:
        """Rows that ``handleInvalid='skip'`` left out of fitting."""
        return self._statistics["skipped"]

    @property
    def skippedRows(self) -> int:
        """Invalid rows of the dataset transformed last; counted by a job the first time."""
        return self._rows.count()

    def _transform(self, dataset: DataFrame) -> DataFrame:
        self._check(dataset)
        dataset = self._rows.apply(
            dataset,
            self._invalid(dataset),
            self.getHandleInvalid(),
            "a number is NaN or infinite, a categorical number is broken, or a timestamp cannot be "
            "read",
            self.uid,
        )
        added = [
            with_metadata(expression, name, {"kind": "categorical", "derived": True})
            for name, expression in self._parts(dataset).items()
        ]
        suffix, how = self.getOutputSuffix(), self.getNumericTransform()
        for name in self.getNumericCols():
            facts = self._statistics["numeric"][name]
            if how != "quantile":
                added.append(
                    with_metadata(
                        self._standardised(dataset, name, facts),
                        name + suffix,
                        {"kind": "numeric", "derived": True},
                    )
                )
            if "quantile" in how:
                added.append(
                    with_metadata(
                        bucket(dataset, column(name).cast(T.DoubleType()), facts["cuts"]),
                        f"{name}_bucket{suffix}",
                        {"kind": "categorical", "derived": True},
                    )
                )
        return add_columns(dataset, added)

    def _standardised(self, dataset: DataFrame, name: str, facts: dict[str, Any]) -> Column:
        if self.getNumericTransform() == "none":
            return F.coalesce(self._finite(name).cast(T.DoubleType()), F.lit(facts["mean"]))
        scaled = Standardisation.from_facts(facts).apply(*self._scaled(dataset, name))
        known = F.coalesce(scaled, F.lit(0.0))  # before least, which passes over nulls
        return F.greatest(F.lit(-_CLIP), F.least(F.lit(_CLIP), known))

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return self._statistics, {}

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        try:
            check_state(state, self.getNumericCols(), self.getNumericTransform())
        except ValueError as error:
            raise ModelFileError(f"the state of this ClickLogCleanerModel: {error}") from error
        self._statistics = state


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, True))


def _quantiles(number: Column, buckets: int) -> Column:
    number = number.cast(T.DoubleType())
    return F.percentile_approx(number, shares(buckets), _QUANTILE_ACCURACY)


def _report(name: str, kind: str, found: dict[str, Any], key: str) -> dict[str, Any]:
    return {
        "column": name,
        "kind": kind,
        "rows": found["rows"],
        "missing": found[f"{key}_missing"],
        "invalid": found[f"{key}_invalid"],
        "changed": found.get(f"{key}_changed", 0),
    }


def _tell_of_times(row: dict[str, Any]) -> None:
    if row["missing"] or row["invalid"]:
        logger.warning(
            "%d of %d rows have no time in %r: %d are null, %d cannot be read as a date and time",
            row["missing"] + row["invalid"],
            row["rows"],
            row["column"],
            row["missing"],
            row["invalid"],
        )
