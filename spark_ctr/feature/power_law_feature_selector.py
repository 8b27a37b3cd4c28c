"""PowerLawFeatureSelector: which columns and values earn embedding rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from pyspark.ml import Estimator, Model
from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.power_law import (
    ColumnStats,
    CountHistogram,
    PowerLawFit,
    better_alternative,
    compare_alternatives,
    fit_discrete,
    label_relevance,
    plot_ccdf,
    select_columns,
)
from spark_ctr.stage.base import number, param
from spark_ctr.stage.columns import (
    CATEGORICAL_TYPES,
    METADATA_KEY,
    NUMERIC_TYPES,
    check_distinct,
    column,
    columns_of_kind,
    field,
    metadata_of,
    replace_columns,
)
from spark_ctr.stage.params import HasInputs, HasInvalid, HasLabel
from spark_ctr.stage.persistence import PersistentStage

_LABELS = -1  # the pseudo-column that counts rows and invalid labels in the same pass

_REPORT_SCHEMA = (
    "column string, rows long, distinct long, missing long, alpha double, alpha_se double, "
    "xmin long, ks_distance double, tail_values long, better_alternative string, cut long, "
    "private_rows long, buckets long, dimension int, coverage double, "
    "expected_collisions double, relevance double, decision string, reason string"
)


class _SelectorParams(HasInputs, HasLabel, HasInvalid):
    rowBudget = param(
        "rowBudget",
        "embedding rows over all columns",
        number("rowBudget", int, at_least=2),
        1_000_000,
    )
    minCount = param(
        "minCount",
        "values seen less often never get a private row (but in small columns)",
        number("minCount", int, at_least=1),
        2,
    )
    minRelevance = param(
        "minRelevance",
        "columns whose bias-corrected mutual information with the label is a smaller share of the "
        "label's entropy are dropped; 0 drops none, as a column that tells nothing alone may tell "
        "much together with others",
        number("minRelevance", float, at_least=0.0, at_most=1.0),
        0.0,
    )
    wholeBelow = param(
        "wholeBelow",
        "columns of at most so many values keep all of them",
        number("wholeBelow", int, at_least=0),
        100,
    )
    tailLoading = param(
        "tailLoading",
        "tail values per hashed row",
        number("tailLoading", float, at_least=1.0),
        4.0,
    )
    dimensionScale = param(
        "dimensionScale",
        "embedding dimension is this times rows**(1/4), a multiple of 4 from 4 to 16",
        number("dimensionScale", float, above=0.0),
        4.0,
    )
    alternatives = param(
        "alternatives",
        "distributions that the power law is compared with in the report",
        TypeConverters.toListString,
        ["lognormal", "exponential", "stretched_exponential"],
    )

    def _columns(self, dataset: DataFrame) -> list[str]:
        names = self._value("inputCols")
        if names is None:
            names = columns_of_kind(dataset, "categorical")
        if not names:
            raise ValueError(
                "PowerLawFeatureSelector has no input: set inputCols or run ClickLogCleaner first"
            )
        check_distinct(names, "inputCols")
        for name in names:
            field(dataset, name, "inputCols", CATEGORICAL_TYPES)
        return names


class PowerLawFeatureSelector(_SelectorParams, PersistentStage, Estimator):
    """Decide from a power-law fit of the value counts, and from the label, what gets embedded.

    One pass counts every value of every column with its label; only the histogram of counts
    reaches the driver. Per column an exact discrete power law is fitted to the counts, and one
    rule divides ``rowBudget`` embedding rows over the columns: drop, keep whole, or a head of
    private rows and a hashed tail (see :func:`spark_ctr.power_law.select_columns`).

    The fitted model leaves the columns as they are and writes the plan into their metadata,
    which HashedEmbeddingEncoder reads.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Clauset, Shalizi and Newman, "Power-law distributions in empirical data", SIAM Review 2009.
    The selection rule is this project's own.
    """

    def _fit(self, dataset: DataFrame) -> PowerLawFeatureSelectorModel:
        names = self._columns(dataset)
        field(dataset, self.getLabelCol(), "labelCol", NUMERIC_TYPES)
        counts = _count_values(dataset, names, self.getLabelCol())
        rows, invalid, positives = _label_totals(counts.pop(_LABELS, []))
        if rows == 0:
            raise ValueError("PowerLawFeatureSelector: the dataset has no rows")
        policy = self.getHandleInvalid()
        if invalid and policy == "error":
            raise ValueError(
                f"PowerLawFeatureSelector: {invalid} of {rows} labels in {self.getLabelCol()!r} "
                "are null or not 0 or 1; clean them or set handleInvalid='skip' or 'keep'"
            )
        negatives = rows - invalid - positives
        if not positives or not negatives:
            raise ValueError(
                f"PowerLawFeatureSelector: label column {self.getLabelCol()!r} has {negatives} "
                f"zeros and {positives} ones; relevance needs both"
            )
        stats = [
            _column_stats(name, counts.get(index, []), self.getMinCount(), policy == "skip")
            for index, name in enumerate(names)
        ]
        decisions = select_columns(
            stats,
            self.getRowBudget(),
            min_relevance=self.getMinRelevance(),
            min_count=self.getMinCount(),
            whole_below=self.getWholeBelow(),
            tail_loading=self.getTailLoading(),
            dimension_scale=self.getDimensionScale(),
        )
        facts = [
            _facts(stat, decision, self.getAlternatives())
            for stat, decision in zip(stats, decisions, strict=True)
        ]
        model = PowerLawFeatureSelectorModel()._with(
            facts, {s.name: s.histogram.to_dict() for s in stats}, invalid
        )
        model._resetUid(self.uid)
        return self._copyValues(model)


class PowerLawFeatureSelectorModel(_SelectorParams, PersistentStage, Model):
    """Fitted :class:`PowerLawFeatureSelector`: marks each column with its plan."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._with([], {}, 0)

    def _with(
        self, facts: list[dict[str, Any]], histograms: dict[str, Any], invalid: int
    ) -> PowerLawFeatureSelectorModel:
        self._facts, self._histograms, self._invalid = facts, histograms, invalid
        return self

    @property
    def report(self) -> DataFrame:
        """One row a column: counts, fit, decision and its reason."""
        names = [part.split()[0] for part in _REPORT_SCHEMA.split(", ")]
        rows = [tuple(facts[name] for name in names) for facts in self._facts]
        return SparkSession.builder.getOrCreate().createDataFrame(rows, _REPORT_SCHEMA)

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """The report as plain dictionaries, without Spark."""
        return [dict(facts) for facts in self._facts]

    @property
    def selectedCols(self) -> list[str]:
        """Columns that are not dropped."""
        return [f["column"] for f in self._facts if f["decision"] != "drop"]

    @property
    def invalidLabels(self) -> int:
        """Rows with an invalid label met in fitting."""
        return self._invalid

    def plotCCDF(self, name: str, ax: Any = None) -> Any:
        """Draw the counts of a column, the fitted power law and the cut; returns the Axes."""
        facts = next((f for f in self._facts if f["column"] == name), None)
        if facts is None:
            raise ValueError(f"no column {name!r}; the selector saw {', '.join(self._histograms)}")
        fit = PowerLawFit.from_dict(facts["fit"]) if facts["fit"] else None
        histogram = CountHistogram.from_dict(self._histograms[name])
        cut = facts["cut"] if facts["decision"] == "head_and_tail" else None
        return plot_ccdf(histogram, fit, cut, ax, name)

    def _transform(self, dataset: DataFrame) -> DataFrame:
        replaced = {}
        for facts in self._facts:
            found = field(dataset, facts["column"], "inputCols", CATEGORICAL_TYPES)
            ours = metadata_of(found) | {"kind": "categorical", "plan": _plan(facts)}
            replaced[found.name] = column(found.name).alias(
                found.name,
                metadata={**(found.metadata or {}), METADATA_KEY: json.dumps(ours, sort_keys=True)},
            )
        return replace_columns(dataset, replaced)

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        text = json.dumps(self._histograms, ensure_ascii=False, separators=(",", ":"))
        return {"columns": self._facts, "invalid": self._invalid}, {
            "histograms.json": text.encode()
        }

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._with(state["columns"], json.loads(payload["histograms.json"]), state["invalid"])


def _plan(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "decision": facts["decision"],
        "minCount": facts["cut"],
        "buckets": facts["buckets"],
        "dimension": facts["dimension"],
    }


def _count_values(dataset: DataFrame, names: list[str], label: str) -> dict[int, list[Any]]:
    """Per column (is null, rows, labelled rows, positives, how many values have these)."""
    valid = F.coalesce(column(label).cast("double").isin(0.0, 1.0), F.lit(False))
    one = F.when(valid, column(label).cast("double"))
    pairs = [
        F.struct(F.lit(index).alias("column"), column(name).cast("string").alias("value"))
        for index, name in enumerate(names)
    ]
    pairs.append(F.struct(F.lit(_LABELS).alias("column"), valid.cast("string").alias("value")))
    rows = (
        dataset.select(F.explode(F.array(*pairs)).alias("pair"), one.alias("label"))
        .groupBy("pair.column", "pair.value")
        .agg(
            F.count(F.lit(1)).alias("rows"),
            F.count("label").alias("labelled"),
            F.coalesce(F.sum("label"), F.lit(0.0)).cast("long").alias("positives"),
        )
        .groupBy(
            "column", F.col("value").isNull().alias("missing"), "rows", "labelled", "positives"
        )
        .agg(F.count(F.lit(1)).alias("values"))
        .collect()
    )
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row["column"], []).append(row)
    return found


def _label_totals(rows: list[Any]) -> tuple[int, int, int]:
    """Rows, rows with an invalid label, and rows with label 1."""
    total, labelled, positives = (
        sum(row[name] * row["values"] for row in rows) for name in ("rows", "labelled", "positives")
    )
    return total, total - labelled, positives


def _column_stats(name: str, rows: list[Any], min_count: int, labelled_only: bool) -> ColumnStats:
    """Histogram, fit and relevance of a column from its counted values."""
    size = "labelled" if labelled_only else "rows"
    present = [row for row in rows if not row["missing"] and row[size] > 0]
    missing = [row for row in rows if row["missing"]]
    by_count: dict[int, int] = {}
    for row in present:
        by_count[row[size]] = by_count.get(row[size], 0) + row["values"]
    counts = np.array(sorted(by_count), dtype=np.int64)
    histogram = CountHistogram(counts, np.array([by_count[c] for c in counts], dtype=np.int64))
    head = sorted(
        (row["labelled"], row["positives"], row["values"])
        for row in present + missing
        if row["labelled"] >= min_count
    )
    tail = [row for row in present + missing if row["labelled"] < min_count]
    repeats = [values for _, _, values in head]
    relevance = label_relevance(
        np.repeat(np.array([n for n, _, _ in head], dtype=np.int64), repeats),
        np.repeat(np.array([k for _, k, _ in head], dtype=np.int64), repeats),
        sum(row["labelled"] * row["values"] for row in tail),
        sum(row["positives"] * row["values"] for row in tail),
    )
    return ColumnStats(
        name,
        histogram,
        sum(row[size] for row in missing),
        fit_discrete(histogram),
        relevance,
    )


def _facts(stats: ColumnStats, decision: Any, alternatives: list[str]) -> dict[str, Any]:
    """One row of the report, JSON-able."""
    fit = stats.fit
    comparisons, _ = compare_alternatives(stats.histogram, fit, alternatives)
    return {
        "column": stats.name,
        "rows": int(stats.histogram.total),
        "distinct": int(stats.histogram.n),
        "missing": int(stats.missing),
        "alpha": float(fit.alpha) if fit else None,
        "alpha_se": float(fit.alpha_se) if fit else None,
        "xmin": int(fit.xmin) if fit else None,
        "ks_distance": float(fit.ks_distance) if fit else None,
        "tail_values": int(fit.n_tail) if fit else None,
        "better_alternative": better_alternative(comparisons),
        "cut": int(decision.min_count),
        "private_rows": int(decision.head_rows),
        "buckets": int(decision.buckets),
        "dimension": int(decision.dimension),
        "coverage": float(decision.coverage),
        "expected_collisions": float(decision.expected_collisions),
        "relevance": None if stats.relevance is None else float(stats.relevance),
        "decision": decision.decision,
        "reason": decision.reason,
        "fit": fit.to_dict() if fit else None,
    }
