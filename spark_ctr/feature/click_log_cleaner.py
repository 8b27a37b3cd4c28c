"""ClickLogCleaner: raw columns of a click log to clean categoricals and standardised numerics."""

from __future__ import annotations

import math
from typing import Any

from pyspark.ml import Model
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.feature.cleaner_params import CleanerParams, not_finite
from spark_ctr.stage.columns import add_columns, column, field_of, quoted, with_metadata
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.fitting import StageEstimator
from spark_ctr.stage.invalid_rows import InvalidRows
from spark_ctr.stage.params import HasVerbose
from spark_ctr.stage.persistence import PersistentStage

_QUANTILE_ACCURACY = 100_000
_CLIP = 10.0


class ClickLogCleaner(CleanerParams, HasVerbose, PersistentStage, StageEstimator):
    """Clean the raw columns of a click log.

    Categorical values become trimmed strings with white space folded; null, empty and
    placeholder values become null. Numbers are made finite, transformed and standardised with
    the fitted mean and standard deviation (missing becomes the mean, 0 after standardising,
    and values beyond 10 standard deviations are clipped), or cut at fitted quantiles into a
    categorical bucket number. A timestamp gives hour (0-23) and weekday (0 = Monday).
    Input columns stay as they are; cleaned columns are added.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    Examples
    --------
    >>> cleaner = ClickLogCleaner(categoricalCols=["site"], numericCols=["price"])
    >>> model = cleaner.fit(log)                # doctest: +SKIP
    >>> model.report.show()                     # doctest: +SKIP
    """

    def _doing(self, dataset: DataFrame) -> str:
        return (
            f"cleaning {counted(len(self.getCategoricalCols() + self.getNumericCols()), 'column')}"
        )

    def _done(self, model: ClickLogCleanerModel) -> str:
        found = model._statistics
        lost = {kind: sum(row[kind] for row in found["report"]) for kind in ("missing", "invalid")}
        words = [f"{amount:,} {kind} values" for kind, amount in lost.items()]
        if found["skipped"]:
            words.append(f"{counted(found['skipped'], 'row')} skipped")
        return f"{counted(found['rows'], 'row')}, {', '.join(words)}"

    def _fit(self, dataset: DataFrame) -> ClickLogCleanerModel:
        self._check(dataset)
        skipped = 0
        if self.getHandleInvalid() == "skip":
            invalid = self._invalid(dataset)
            skipped = dataset.filter(invalid).count()
            dataset = dataset.filter(~invalid)
        aggregates = [F.count(F.lit(1)).alias("rows")]
        for index, name in enumerate(self.getCategoricalCols()):
            aggregates += self._categorical_counts(name, f"c{index}")
        for index, name in enumerate(self.getNumericCols()):
            aggregates += self._numeric_statistics(name, f"n{index}")
        timestamp = self._value("timestampCol")
        if timestamp is not None:
            unread = self._local_seconds(field_of(dataset, timestamp).dataType).isNull()
            aggregates += [
                _count(column(timestamp).isNull()).alias("t_null"),
                _count(column(timestamp).isNotNull() & unread).alias("t_invalid"),
            ]
        found = dataset.agg(*aggregates).collect()[0].asDict()
        if found["rows"] == 0:
            raise ValueError(f"ClickLogCleaner: the dataset has no rows ({skipped} were skipped)")
        self._refuse_invalid(found)
        statistics = {"rows": found["rows"], "skipped": skipped, "numeric": {}, "report": []}
        for index, name in enumerate(self.getCategoricalCols()):
            statistics["report"].append(_categorical_report(name, found, f"c{index}"))
        for index, name in enumerate(self.getNumericCols()):
            numeric = _numeric_facts(found, f"n{index}")
            if "quantile" in self.getNumericTransform():
                numeric["cuts"] = self._cuts(dataset, name, found[f"n{index}_quantiles"])
            statistics["numeric"][name] = numeric
            statistics["report"].append(_numeric_report(name, found, f"n{index}"))
        if timestamp is not None:
            statistics["report"].append(
                {"column": timestamp, "kind": "timestamp", "rows": found["rows"]}
                | {"missing": found["t_null"], "invalid": found["t_invalid"], "changed": 0}
            )
        model = ClickLogCleanerModel()._with(statistics)
        model._resetUid(self.uid)
        return self._copyValues(model)

    def _categorical_counts(self, name: str, key: str) -> list[Column]:
        raw, clean = column(name).cast("string"), self._categorical(name)
        return [
            _count(raw.isNull()).alias(f"{key}_null"),
            _count(raw.isNotNull() & clean.isNull()).alias(f"{key}_placeholder"),
            _count(clean != raw).alias(f"{key}_changed"),
        ]

    def _numeric_statistics(self, name: str, key: str) -> list[Column]:
        scaled, raw = self._scaled(name), column(name).cast("double")
        statistics = [
            _count(raw.isNull()).alias(f"{key}_null"),
            _count(not_finite(raw)).alias(f"{key}_invalid"),
            F.avg(scaled).alias(f"{key}_mean"),
            F.stddev_samp(scaled).alias(f"{key}_std"),
        ]
        if "quantile" in self.getNumericTransform():
            shares = _shares(self.getNumBuckets())
            statistics.append(
                F.percentile_approx(self._finite(name), shares, _QUANTILE_ACCURACY).alias(
                    f"{key}_quantiles"
                )
            )
        return statistics

    def _cuts(self, dataset: DataFrame, name: str, quantiles: list[float] | None) -> list[float]:
        """Bucket boundaries; a value that fills several buckets gets one of its own.

        The buckets it frees are spread over the other values by a second pass, or a column that
        is mostly zero would be left with two buckets.
        """
        quantiles = quantiles or []
        heavy = sorted({value for value in quantiles if quantiles.count(value) > 1})
        cuts = set(quantiles)
        free = self.getNumBuckets() - len(cuts) - len(heavy)
        if heavy and free > 1:
            rest = F.when(~self._finite(name).isin(heavy), self._finite(name))
            again = dataset.agg(
                F.percentile_approx(rest, _shares(free), _QUANTILE_ACCURACY)
            ).collect()[0][0]
            cuts |= set(again or [])
        cuts |= {math.nextafter(value, math.inf) for value in heavy}
        return sorted(cuts)

    def _refuse_invalid(self, found: dict[str, Any]) -> None:
        if self.getHandleInvalid() != "error":
            return
        bad = {
            name: found[f"n{index}_invalid"]
            for index, name in enumerate(self.getNumericCols())
            if found[f"n{index}_invalid"]
        }
        if found.get("t_invalid"):
            bad[self.getTimestampCol()] = found["t_invalid"]
        if bad:
            counts = ", ".join(f"{name!r}: {count}" for name, count in bad.items())
            raise ValueError(
                f"ClickLogCleaner: NaN, infinite or unreadable values by column: {counts}; "
                "use handleInvalid='skip' or 'keep' to go on"
            )


class ClickLogCleanerModel(CleanerParams, PersistentStage, Model):
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
            "a number is NaN or infinite, or a timestamp cannot be read",
            self.uid,
        )
        added = [
            with_metadata(expression, name, {"kind": "categorical"})
            for name, expression in self._parts(dataset).items()
        ]
        suffix, how = self.getOutputSuffix(), self.getNumericTransform()
        for name in self.getNumericCols():
            facts = self._statistics["numeric"][name]
            if how != "quantile":
                added.append(
                    with_metadata(
                        self._standardised(name, facts), name + suffix, {"kind": "numeric"}
                    )
                )
            if "quantile" in how:
                added.append(
                    with_metadata(
                        self._bucket(name, facts["cuts"]),
                        f"{name}_bucket{suffix}",
                        {"kind": "categorical"},
                    )
                )
        return add_columns(dataset, added)

    def _standardised(self, name: str, facts: dict[str, Any]) -> Column:
        mean, deviation = facts["mean"], facts["std"]
        if self.getNumericTransform() == "none":
            return F.coalesce(self._finite(name), F.lit(mean))
        scaled = F.coalesce((self._scaled(name) - F.lit(mean)) / F.lit(deviation), F.lit(0.0))
        return F.greatest(F.lit(-_CLIP), F.least(F.lit(_CLIP), scaled))

    def _bucket(self, name: str, cuts: list[float]) -> Column:
        number = f"CAST({quoted(name)} AS DOUBLE)"
        return F.when(self._finite(name).isNotNull(), F.expr(_search(number, cuts, 0)))

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        return self._statistics, {}

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._statistics = state


def _search(number: str, cuts: list[float], first: int) -> str:
    """Binary search over the boundaries as nested SQL ``if``, which Spark compiles."""
    if not cuts:
        return f"'{first}'"
    middle = len(cuts) // 2
    below = _search(number, cuts[:middle], first)
    above = _search(number, cuts[middle + 1 :], first + middle + 1)
    return f"if({number} < {cuts[middle]!r}D, {below}, {above})"


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, True))


def _shares(buckets: int) -> list[float]:
    return [index / buckets for index in range(1, buckets)]


def _rounded(value: float) -> float:
    """Ten significant digits, so that the order in which Spark sums does not show."""
    return float(f"{value:.10g}")


def _numeric_facts(found: dict[str, Any], key: str) -> dict[str, Any]:
    mean, deviation = found[f"{key}_mean"], found[f"{key}_std"]
    usable = deviation is not None and math.isfinite(deviation) and deviation > 0
    return {
        "mean": _rounded(mean) if mean is not None and math.isfinite(mean) else 0.0,
        "std": _rounded(deviation) if usable else 1.0,
    }


def _categorical_report(name: str, found: dict[str, Any], key: str) -> dict[str, Any]:
    missing = found[f"{key}_null"] + found[f"{key}_placeholder"]
    return {
        "column": name,
        "kind": "categorical",
        "rows": found["rows"],
        "missing": missing,
        "invalid": 0,
        "changed": found[f"{key}_changed"] + found[f"{key}_placeholder"],
    }


def _numeric_report(name: str, found: dict[str, Any], key: str) -> dict[str, Any]:
    missing, invalid = found[f"{key}_null"], found[f"{key}_invalid"]
    return {
        "column": name,
        "kind": "numeric",
        "rows": found["rows"],
        "missing": missing,
        "invalid": invalid,
        "changed": missing + invalid,
    }
