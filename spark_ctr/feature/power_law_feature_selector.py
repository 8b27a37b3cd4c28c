"""PowerLawFeatureSelector: which columns and values earn embedding rows."""

from __future__ import annotations

import json
import logging
from typing import Any

from pyspark.ml.param import TypeConverters
from pyspark.sql import DataFrame, SparkSession

from spark_ctr.feature.category_text import check_whole
from spark_ctr.feature.column_statistics import (
    count_columns,
    sample_relevance,
    without_false_copies,
)
from spark_ctr.feature.marked_columns import tell_of_unmarked
from spark_ctr.feature.selection_report import FACTS_SCHEMA, column_facts, stats_of
from spark_ctr.feature.selection_state import saved_selection
from spark_ctr.power_law import (
    ColumnDecision,
    ColumnStats,
    CountHistogram,
    PowerLawFit,
    column_growth,
    column_stats,
    plot_budget,
    plot_ccdf,
    select_columns,
)
from spark_ctr.power_law.budget import MIN_GAIN
from spark_ctr.power_law.growth import HORIZON
from spark_ctr.stage.base import number, one_of, param
from spark_ctr.stage.columns import (
    METADATA_KEY,
    categorical_field,
    check_distinct,
    columns_of_kind,
    field,
    metadata_of,
    set_metadata,
)
from spark_ctr.stage.fit_progress import counted
from spark_ctr.stage.fitting import StageEstimator, StageModel
from spark_ctr.stage.labels import LABEL_TYPES, unusual_labels, with_click_label
from spark_ctr.stage.params import HasInputs, HasInvalid, HasLabel, HasRandomSeed, HasVerbose
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.stage.times import TIME_TYPES
from spark_ctr.tables import ColumnPlan

logger = logging.getLogger("spark_ctr")


class _SelectorParams(HasInputs, HasLabel, HasInvalid, HasRandomSeed):
    budget = param(
        "budget",
        "embedding rows over all columns, or bytes of them: see budgetUnit",
        number("budget", int, at_least=2),
        1_000_000,
    )
    budgetUnit = param(
        "budgetUnit",
        "'rows' or 'bytes' (of float32 weights: rows * dimension * 4)",
        one_of("budgetUnit", "rows", "bytes"),
        "rows",
    )
    minCount = param(
        "minCount",
        "values seen less often never get a private row (but in small columns)",
        number("minCount", int, at_least=1),
        2,
    )
    minRelevance = param(
        "minRelevance",
        "columns that explain a smaller share of the label, alone and beside any one other column, "
        "are dropped; 0 drops none for it",
        number("minRelevance", float, at_least=0.0, at_most=1.0),
        0.0,
    )
    maxPValue = param(
        "maxPValue",
        "columns whose link with the label, alone and beside any one other column, has a larger "
        "p-value are dropped as chance, if the sample is large enough to have shown effects of "
        "0.28 on the logit, which at even labels are a link of 2 %; 1 drops none for it",
        number("maxPValue", float, at_least=0.0, at_most=1.0),
        0.01,
    )
    sampleRows = param(
        "sampleRows",
        "rows on which it is measured what columns tell together; 0 measures it not, and then the "
        "counts alone decide which values get rows",
        number("sampleRows", int, at_least=0, at_most=10_000_000),
        100_000,
    )
    orderCol = param(
        "orderCol",
        "column that gives the order of the log (numeric, timestamp, date or text that reads as a "
        "time), in which the growth of each vocabulary is measured; unset: growth as in a shuffled "
        "log",
        TypeConverters.toString,
    )
    unseenHorizon = param(
        "unseenHorizon",
        "rows ahead that the report's unseen_share is about, as a share of the rows of the log",
        number("unseenHorizon", float, above=0.0, at_most=10.0),
        HORIZON,
    )
    minGain = param(
        "minGain",
        "values whose label information, by the most that their column's average may be, is less "
        "than this many times the noise of learning it get no private row; 0 grants rows as long "
        "as the budget lasts",
        number("minGain", float, at_least=0.0),
        MIN_GAIN,
    )
    wholeBelow = param(
        "wholeBelow",
        "in columns of at most so many values minCount does not apply",
        number("wholeBelow", int, at_least=0),
        100,
    )
    tailLoading = param(
        "tailLoading",
        "values seen twice or more per hashed row of the tail, at least 1; 0: one hashed row",
        number("tailLoading", float, at_least=0.0),
        0.0,
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
        ["lognormal", "exponential", "stretched_exponential", "truncated_power_law"],
    )
    pValuePrecision = param(
        "pValuePrecision",
        "largest standard error of the report's p-value of the power law, from "
        "1 / (4 * precision**2) synthetic sets a column; 0 leaves it out",
        number("pValuePrecision", float, at_least=0.0, at_most=0.5),
        0.1,
    )

    def _columns(self, dataset: DataFrame) -> list[str]:
        names = self._value("inputCols")
        if names is None:
            names = columns_of_kind(dataset, "categorical")
        if not names:
            raise ValueError(
                "PowerLawFeatureSelector has no input: set inputCols or run ClickLogCleaner first"
            )
        check_distinct(dataset, names, "inputCols")
        for name in names:
            categorical_field(dataset, name, "inputCols")
        return names

    def _decide(self, stats: list[ColumnStats], budget: int) -> list[ColumnDecision]:
        return select_columns(
            stats,
            budget,
            unit=self.getBudgetUnit(),
            min_relevance=self.getMinRelevance(),
            max_p_value=self.getMaxPValue(),
            min_count=self.getMinCount(),
            min_gain=self.getMinGain(),
            whole_below=self.getWholeBelow(),
            tail_loading=self.getTailLoading(),
            dimension_scale=self.getDimensionScale(),
        )


class PowerLawFeatureSelector(_SelectorParams, HasVerbose, PersistentStage, StageEstimator):
    """Decide from a power-law fit of the value counts, and from the label, what gets embedded.

    One pass counts every value of every column with its label; only the histogram of counts
    reaches the driver, and a sample of rows for what columns tell together. Per column an exact
    discrete power law is fitted to the counts, and one rule divides ``budget`` embedding rows over
    the columns: drop, keep whole, or a head of private rows and a hashed tail (see
    :func:`spark_ctr.power_law.select_columns`).

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

    def _doing(self, dataset: DataFrame) -> str:
        return f"counting the values of {counted(len(self._columns(dataset)), 'column')}"

    def _done(self, model: PowerLawFeatureSelectorModel) -> str:
        kept = sum(facts["decision"] != "drop" for facts in model._facts)
        return f"{kept} of {counted(len(model._facts), 'column')} kept"

    def _fit(self, dataset: DataFrame) -> PowerLawFeatureSelectorModel:
        names, label, order = self._columns(dataset), self.getLabelCol(), self._value("orderCol")
        check_whole(dataset, names, "inputCols")
        if not self.isDefined("inputCols"):
            tell_of_unmarked(dataset, ["categorical"], "PowerLawFeatureSelector")
        positive = self._value("positiveLabel")
        field(dataset, label, "labelCol", LABEL_TYPES)
        if order is not None:
            field(dataset, order, "orderCol", TIME_TYPES)
        dataset = with_click_label(dataset, label, positive, "PowerLawFeatureSelector")
        counted, totals = count_columns(dataset, names, label, order)
        if totals.rows == 0:
            raise ValueError("PowerLawFeatureSelector: the dataset has no rows")
        if order is not None and totals.parts is None:
            logger.warning(
                f"PowerLawFeatureSelector: orderCol {order!r} has no two different times to order "
                "the log by; growth is measured as in a shuffled log"
            )
        policy = self.getHandleInvalid()
        negatives = totals.rows - totals.invalid - totals.positives
        if totals.invalid and (policy == "error" or not totals.positives or not negatives):
            unusual = unusual_labels(dataset, label, positive)
            if unusual:
                raise ValueError(f"PowerLawFeatureSelector: {unusual}")
        if totals.invalid and policy == "error":
            raise ValueError(
                f"PowerLawFeatureSelector: {totals.invalid} of {totals.rows} labels in {label!r} "
                "are null or not 0 or 1; clean them or set handleInvalid='skip' or 'keep'"
            )
        if not totals.positives or not negatives:
            raise ValueError(
                f"PowerLawFeatureSelector: label column {label!r} has {negatives} zeros and "
                f"{totals.positives} ones; relevance needs both"
            )
        joint = sample_relevance(
            dataset, names, label, totals.rows, self.getSampleRows(), self.getSeed()
        )
        skip = policy == "skip"
        stats = [
            column_stats(name, counts, self.getMinCount(), skip, joint.get(name))
            for name, counts in zip(names, counted, strict=True)
        ]
        stats = without_false_copies(dataset, stats, label if skip else None)
        parts = totals.labelled_parts if skip else totals.parts
        facts = [
            column_facts(
                one,
                decision,
                column_growth(one.histogram, counts, skip, parts, self.getUnseenHorizon()),
                self.getAlternatives(),
                self.getPValuePrecision(),
                self.getSeed(),
            )
            for one, counts, decision in zip(
                stats, counted, self._decide(stats, self.getBudget()), strict=True
            )
        ]
        model = PowerLawFeatureSelectorModel()._with(
            facts, {s.name: s.histogram.to_dict() for s in stats}, totals.invalid
        )
        model._resetUid(self.uid)
        return self._copyValues(model)


class PowerLawFeatureSelectorModel(_SelectorParams, PersistentStage, StageModel):
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
        """One row a column: counts, fit, growth, decision and its reason."""
        names = [part.split()[0] for part in FACTS_SCHEMA.split(", ")]
        rows = [tuple(facts[name] for name in names) for facts in self._facts]
        return SparkSession.builder.getOrCreate().createDataFrame(rows, FACTS_SCHEMA)

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

    def plotBudget(self, ax: Any = None) -> Any:
        """Draw each column's coverage against the budget, and the budget taken; returns the Axes.

        Coverage is the share of the rows whose value has a private row.
        """
        stats = [stats_of(facts, self._histograms[facts["column"]]) for facts in self._facts]
        return plot_budget(
            stats,
            lambda budget: self._decide(stats, budget),
            self.getBudget(),
            self.getBudgetUnit(),
            ax,
        )

    def _transform(self, dataset: DataFrame) -> DataFrame:
        marked = {}
        for facts in self._facts:
            found = categorical_field(dataset, facts["column"], "inputCols")
            ours = metadata_of(found) | {"kind": "categorical", "plan": _plan(facts).to_dict()}
            text = json.dumps(ours, sort_keys=True)
            marked[found.name] = {**(found.metadata or {}), METADATA_KEY: text}
        return set_metadata(dataset, marked)

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        text = json.dumps(self._histograms, ensure_ascii=False, separators=(",", ":"))
        return {"columns": self._facts, "invalid": self._invalid}, {
            "histograms.json": text.encode()
        }

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        self._with(*saved_selection(state, payload["histograms.json"]))


def _plan(facts: dict[str, Any]) -> ColumnPlan:
    kept = facts["decision"] != "drop"
    return ColumnPlan(facts["cut"], facts["buckets"], facts["dimension"], kept)
