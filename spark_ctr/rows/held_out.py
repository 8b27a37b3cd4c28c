"""Which rows a fit held out of training: written down, and found again in the same dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark_ctr.rows.split import split_rows
from spark_ctr.rows.training_columns import TaskLabel, TrainingColumns
from spark_ctr.rows.validation_time import latest_cut, since
from spark_ctr.stage.columns import column, field_of, fields_named

# Of spark_ctr's metadata of a column of probabilities: the rule of the model that made it.
HELD_OUT = "heldOut"


def held_out_rule(
    dataset: DataFrame, columns: TrainingColumns, raw: Sequence[str]
) -> dict[str, Any]:
    """Say which rows are for validation and not trained on, as JSON.

    A cut in time is found first, in two passes over its column.

    Parameters
    ----------
    dataset : DataFrame
    columns : TrainingColumns
    raw : sequence of str
        From `split.raw_names`.

    Returns
    -------
    dict
        "by" is "column", "time", "content" or "nothing"; the rest is what finds them again.
    """
    if columns.validation is not None:
        return {"by": "column", "column": columns.validation}
    if columns.validation_fraction == 0:
        return {"by": "nothing"}
    name, fraction = columns.validation_time, columns.validation_fraction
    if name is not None:
        kind = field_of(dataset, name).dataType.simpleString()
        cut = latest_cut(dataset, name, fraction)
        return {"by": "time", "column": name, "type": kind, "cut": cut}
    # Where the files lay and which negatives were left out has no part in it.
    drawn = asdict(replace(columns, cache_dir=None, negative_sampling_rate=1.0))
    # As JSON has it, so that a loaded model says the same.
    return json.loads(json.dumps({"by": "content", "raw": list(raw), "drawn": drawn}))


def chosen_rows(dataset: DataFrame, rule: dict[str, Any]) -> Column | None:
    """Return whether a rule holds a row out; None where rows are drawn by their content."""
    if rule["by"] == "column":
        return F.coalesce(column(rule["column"]), F.lit(False))
    if rule["by"] == "time":
        return since(dataset, rule["column"], rule["cut"])
    return F.lit(False) if rule["by"] == "nothing" else None


def missing_columns(dataset: DataFrame, rule: dict[str, Any]) -> list[str]:
    """Name the columns that `held_out_rows` needs and the dataset lacks, or has in another type."""
    if rule["by"] == "nothing":
        return []
    if rule["by"] != "content":
        wanted = {rule["column"]: rule.get("type", "boolean")}
    else:
        columns = _drawn(rule)
        tasks = [name for t in columns.tasks for name in (t.label, t.of_clicks, t.time, t.weight)]
        features = [name for pair in columns.pairs for name in pair]
        named = [*rule["raw"], columns.label, columns.weight, *tasks, *features]
        wanted = {name: None for name in named if name is not None}
    found = {name: fields_named(dataset, name) for name in wanted}
    return [
        name
        for name, kind in wanted.items()
        if len(found[name]) != 1 or kind not in (None, found[name][0].dataType.simpleString())
    ]


def held_out_rows(dataset: DataFrame, rule: dict[str, Any], names: Sequence[str]) -> DataFrame:
    """Return some columns of the rows that a rule held out of this dataset.

    Parameters
    ----------
    dataset : DataFrame
        With the rows of the fit, and with none of `missing_columns`.
    rule : dict
        From `held_out_rule`.
    names : sequence of str
        Columns to keep.
    """
    chosen = chosen_rows(dataset, rule)
    if chosen is not None:
        return dataset.filter(chosen).select(*map(column, names))
    kept = [f"kept_{index}" for index in range(len(names))]
    passed = [column(name).alias(new) for name, new in zip(names, kept, strict=True)]
    rows = split_rows(dataset, _drawn(rule), rule["raw"], None, passed).filter("validation")
    return rows.select(*[F.col(new).alias(name) for name, new in zip(names, kept, strict=True)])


def _drawn(rule: dict[str, Any]) -> TrainingColumns:
    """Take the columns of a rule back from JSON."""
    said = dict(rule["drawn"])
    said["further"] = tuple(map(tuple, said["further"]))
    said["tasks"] = tuple(TaskLabel(**task) for task in said["tasks"])
    return TrainingColumns(**said)
