"""Which columns of a dataset are trained on: names, types, and what their metadata says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import types as T

from spark_ctr.stage.columns import field, metadata_of
from spark_ctr.stage.labels import LABEL_TYPES
from spark_ctr.stage.times import TIME_TYPES
from spark_ctr.tables import Inputs, Table


@dataclass(frozen=True)
class TaskLabel:
    """Where the label of one of several tasks is, and on which rows it is known.

    Attributes
    ----------
    name : str
        Of the task.
    label : str
        Column; a null is a label that is not known.
    positive_label : str or None
        See `labels.click_label`.
    of_clicks : str or None
        Column whose 1 or true says that the label counts.
    positive_click : str or None
        Value of that column which counts as 1, as `positive_label`.
    joint : bool
        What `of_clicks` means: the label is 0 where that column is 0, as of "clicked and
        converted"; else it is not known there, as of "converted, given a click".
    time : str or None
        Column of the moment from which the label matures; where it is null, nothing is awaited.
    mature_after : float
        Seconds after which a label is final, or units of a numeric time column.
    weight : str or None
        Column whose value multiplies the row's weight for this task.
    """

    name: str
    label: str
    positive_label: str | None = None
    of_clicks: str | None = None
    positive_click: str | None = None
    joint: bool = False
    time: str | None = None
    mature_after: float = 0.0
    weight: str | None = None


@dataclass(frozen=True)
class TrainingColumns:
    """Which columns of a dataset are trained on, and how it is split.

    Attributes
    ----------
    label, weight, validation, validation_time : str or None
        Label, sample weight, boolean validation indicator, and the time whose latest rows are
        validation rows; at most one of the last two.
    categorical, numeric : str
        The feature columns of HashedEmbeddingEncoder.
    validation_fraction : float
        Share of rows kept for validation where there is no indicator.
    negative_sampling_rate : float
        Share of the training rows with label 0 that is kept.
    seed : int
    handle_invalid : {"error", "skip", "keep"}
        "keep" reads an invalid feature as missing, and a row without a time is a training row; an
        invalid label is an error even then.
    cache_dir : str or None
        Folder that driver and executors share; None: a temporary one on this machine.
    positive_label : str or None
        Value of the label that is a click, see `labels.click_label`.
    further : tuple of pairs of str
        Further feature columns (categorical, numeric), which only teachers read.
    tasks : tuple of TaskLabel
        Labels of several tasks, of which `label` is the first; empty for the one task of `label`.
    """

    label: str
    weight: str | None
    validation: str | None
    validation_time: str | None
    categorical: str
    numeric: str
    validation_fraction: float
    negative_sampling_rate: float
    seed: int
    handle_invalid: str
    cache_dir: str | None
    positive_label: str | None = None
    further: tuple[tuple[str, str], ...] = ()
    tasks: tuple[TaskLabel, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of feature columns (categorical, numeric) in the files, the network's own first."""
        return ((self.categorical, self.numeric), *self.further)


def feature_fields(
    dataset: DataFrame, categorical: str, numeric: str
) -> tuple[T.StructField, T.StructField]:
    """Fields of the two feature columns, whose types must be what HashedEmbeddingEncoder makes.

    Raises
    ------
    ValueError, TypeError
        For a missing column or a wrong type.
    """
    ids = field(dataset, categorical, "categoricalFeaturesCol", (T.ArrayType,))
    numbers = field(dataset, numeric, "numericFeaturesCol", (T.ArrayType,))
    for found, role, inner in (
        (ids, "categoricalFeaturesCol", T.IntegerType),
        (numbers, "numericFeaturesCol", T.FractionalType),
    ):
        if not isinstance(getattr(found.dataType, "elementType", None), inner):
            raise TypeError(
                f"column {found.name!r} ({role}) has type {found.dataType.simpleString()}; "
                "it must be what HashedEmbeddingEncoder makes"
            )
    return ids, numbers


def further_prefix(number: int) -> str:
    """Return what stands before the names of the files' columns of a pair of further features."""
    return f"x{number}_"


def inputs_of(dataset: DataFrame, columns: TrainingColumns) -> Inputs:
    """Check the schema and read table sizes and dimensions from the columns' metadata.

    Those of the further features are checked too, see `feature_inputs`.

    Raises
    ------
    ValueError, TypeError
        For a missing column, a wrong type, or features without spark_ctr's metadata.
    """
    if columns.tasks:
        _check_tasks(dataset, columns.tasks)
    else:
        field(dataset, columns.label, "labelCol", LABEL_TYPES)
    if columns.weight is not None:
        field(dataset, columns.weight, "weightCol", (T.NumericType,))
    if columns.validation is not None:
        field(dataset, columns.validation, "validationIndicatorCol", (T.BooleanType,))
    if columns.validation_time is not None:
        field(dataset, columns.validation_time, "validationTimeCol", TIME_TYPES)
        if columns.validation is not None:
            raise ValueError(
                f"validationIndicatorCol ({columns.validation!r}) and validationTimeCol "
                f"({columns.validation_time!r}) both choose the validation rows: clear one of them"
            )
    own, *_ = [feature_inputs(dataset, *pair) for pair in columns.pairs]
    return own


def _check_tasks(dataset: DataFrame, tasks: Sequence[TaskLabel]) -> None:
    for task in tasks:
        field(dataset, task.label, "labelCols", LABEL_TYPES)
        if task.of_clicks is not None:
            field(dataset, task.of_clicks, "knownWhen of tasks", LABEL_TYPES)
        if task.weight is not None:
            field(dataset, task.weight, "weightCol of tasks", (T.NumericType,))
        if task.time is not None:
            field(dataset, task.time, "timeCol of tasks", TIME_TYPES)


def feature_inputs(dataset: DataFrame, categorical: str, numeric: str) -> Inputs:
    """Check two feature columns and read tables and names from their metadata.

    Raises
    ------
    ValueError, TypeError
        For a missing column, a wrong type, or features without spark_ctr's metadata.
    """
    ids, numbers = feature_fields(dataset, categorical, numeric)
    if "tables" not in metadata_of(ids) or "names" not in metadata_of(numbers):
        raise ValueError(
            f"columns {categorical!r} and {numeric!r} carry no table sizes: "
            "make them with HashedEmbeddingEncoder (and keep the columns' metadata)"
        )
    return Inputs(
        tables=tuple(map(Table.from_dict, metadata_of(ids)["tables"])),
        numeric=tuple(metadata_of(numbers)["names"]),
    )


def check_same_inputs(found: Inputs, expected: Inputs, what: str) -> None:
    """Check that features mean the same as those of the training rows.

    Parameters
    ----------
    found, expected : Inputs
        The latter those of the training rows.
    what : str
        What reads or holds the former, for the error.

    Raises
    ------
    ValueError
        Names the columns that differ.
    """
    for kind, one, other in (
        ("categorical", [t.name for t in found.tables], [t.name for t in expected.tables]),
        ("numeric", list(found.numeric), list(expected.numeric)),
    ):
        if one != other:
            raise ValueError(
                f"{what} has the {kind} columns {one}, the training rows have {other}: encode both "
                "with the same encoder"
            )
    pairs = zip(found.tables, expected.tables, strict=True)
    differing = [one.name for one, other in pairs if not one.same_ids(other)]
    if differing:
        raise ValueError(
            f"{what} has other tables of the columns {differing} than the training rows: encode "
            "both with the same encoder"
        )
