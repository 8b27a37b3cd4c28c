"""The label columns of the training files: of one task, or of several with labels to come."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from spark_ctr.rows.training_columns import TaskLabel, TrainingColumns
from spark_ctr.stage.columns import column, field_of
from spark_ctr.stage.labels import click_label
from spark_ctr.stage.times import time_of


def label_columns(dataset: DataFrame, columns: TrainingColumns) -> tuple[list[Column], Column]:
    """Return the label of each task as doubles, and whether a row's labels are invalid.

    A label of several tasks is null where it is not known, and nan where it may still change; the
    one label of one task must be known. Where labels mature, the latest time is found first, in a
    job.

    Raises
    ------
    ValueError, TypeError
        See `labels.click_label`.
    """
    if not columns.tasks:
        label = click_label(dataset, columns.label, columns.positive_label, "training")
        return [label], F.coalesce(~label.isin(0.0, 1.0), F.lit(True))
    labels, outside = [], []
    for task in columns.tasks:
        given = click_label(dataset, task.label, task.positive_label, "training")
        outside.append(~_is_label(given))
        labels.append(_known(dataset, task, given))
    return labels, reduce(or_, outside)


def label_weights(
    dataset: DataFrame, columns: TrainingColumns, labels: Sequence[Column]
) -> list[Column]:
    """Return what multiplies the row's weight for each task, as doubles; none where nothing does.

    Of a label that is not known it is 0, whatever its column holds.

    Parameters
    ----------
    dataset : DataFrame
    columns : TrainingColumns
    labels : sequence of Column
        From `label_columns`.
    """
    if not any(task.weight for task in columns.tasks):
        return []
    found = []
    for task, label in zip(columns.tasks, labels, strict=True):
        value = F.lit(1.0) if task.weight is None else column(task.weight).cast("double")
        found.append(F.when(F.coalesce(label.isin(0.0, 1.0), F.lit(False)), value).otherwise(0.0))
    return found


def _is_label(label: Column) -> Column:
    """Whether a label is 0, 1 or null."""
    return F.coalesce(label.isin(0.0, 1.0), F.lit(True))


def _known(dataset: DataFrame, task: TaskLabel, label: Column) -> Column:
    """Return a task's label: null where it is not known, nan where it is too young to be."""
    young = _young(dataset, task)
    if young is not None:
        # A label of 1 too: of the young rows, those that are known would all be 1.
        label = F.when(young, F.lit(float("nan"))).otherwise(label)
    if task.of_clicks is None:
        return label
    clicked = click_label(dataset, task.of_clicks, task.positive_click, "training")
    if task.joint:
        return F.when(clicked == 0, F.lit(0.0)).when(clicked == 1, label)
    return F.when(clicked == 1, label)


def _young(dataset: DataFrame, task: TaskLabel) -> Column | None:
    """Return whether a label may still change at the log's end; None where labels are final.

    The log ends at the latest time of the column. A row without a time awaits nothing.
    """
    if task.time is None:
        return None
    time = time_of(dataset, task.time)
    last = dataset.agg(F.max(time).alias("t")).collect()[0]["t"]
    if last is None:
        return F.lit(False)
    kind = field_of(dataset, task.time).dataType
    unit = {
        T.DateType: 1 / 86_400,
        T.StringType: 1e6,
        T.TimestampType: 1e6,
        T.TimestampNTZType: 1e6,
    }
    cut = last - task.mature_after * unit.get(type(kind), 1.0)
    return F.coalesce(time > F.lit(cut), F.lit(False))
