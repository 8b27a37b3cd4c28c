"""What was written for training: counted, checked, and described."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pyspark.sql import DataFrame

from spark_ctr.rows.negative_sampling import DROPPED, logit_shift
from spark_ctr.rows.split import REASONS, feature_names, label_names, label_weight_names
from spark_ctr.rows.training_columns import TaskLabel, TrainingColumns, further_prefix
from spark_ctr.rows.training_files import (
    LabelCounts,
    LabelledRows,
    labelled_rows,
    reason_counts,
    row_count,
)
from spark_ctr.rows.training_rows import INVALID, TRAIN, VALID
from spark_ctr.stage.labels import unusual_labels
from spark_ctr.tables import Inputs
from spark_ctr.training.feeds.block import Layout
from spark_ctr.training.metrics import log_odds
from spark_ctr.training.sample_size import too_few_events

logger = logging.getLogger("spark_ctr")


@dataclass(frozen=True)
class TaskRows:
    """Labels of one task in the training files, validation rows included.

    Attributes
    ----------
    name : str
        Of the task; that of the label column where there is one task.
    known, positives : int
        Rows whose label is known, and those with label 1.
    young : int
        Rows whose label may still change, which counts as not known.
    log_odds : float
        Of label 1 in the training rows that are known, by weight.
    """

    name: str
    known: int
    positives: int
    young: int
    log_odds: float


@dataclass(frozen=True)
class TrainingData:
    """Training files on disk, and what was counted while they were written.

    Attributes
    ----------
    train_path, valid_path : str
        Folders of Parquet files; the latter need not exist where there are no validation rows.
    inputs : Inputs
    rows, train_rows, valid_rows, positives : int
        Rows of both parts, of each, and those of both with label 1.
    skipped, dropped_negatives : int
        Rows left out as invalid, and training rows left out by negative sampling.
    logit_shift : float
        What the loss on training rows adds to the logits, see `negative_sampling.logit_shift`.
    log_odds : float
        Of a click in the training rows, by weight and before sampling.
    weight_scale : float
        Factor by which the weights of the training rows have mean 1.
    digest : str
        Equal for the same rows in the same parts, however the dataset is partitioned; taken from
        label, weight and the first feature in the order of the rows' content.
    prefix : str
        Stands before the names of the feature columns in the files, see `view`.
    further : tuple of Inputs
        Further features that the files hold, which only teachers read.
    teacher : int
        Number of columns with teacher's logits in the files, one a task; 0 for none.
    unlabelled_path : str or None
        Folder of further files with features and teacher's logits but no labels.
    unlabelled_rows : int
        Rows of those.
    unlabelled_ratio : float
        Rows of those in a batch, for each labelled row of the batch.
    teacher_digest : str
        Equal for the same teachers and the same unlabelled rows.
    tasks : tuple of TaskRows
        What is known of each task; `positives` and `log_odds` are the first one's.
    held_out : dict
        Which rows are for validation, see `held_out.held_out_rule`.
    task_scales : tuple of float
        Factors by which the weights of a task's labels leave the task's whole weight as it is;
        empty where no task has weights.
    """

    train_path: str
    valid_path: str
    inputs: Inputs
    rows: int
    train_rows: int
    valid_rows: int
    positives: int
    skipped: int
    dropped_negatives: int
    logit_shift: float
    log_odds: float
    weight_scale: float
    digest: str
    prefix: str = ""
    further: tuple[Inputs, ...] = ()
    teacher: int = 0
    unlabelled_path: str | None = None
    unlabelled_rows: int = 0
    unlabelled_ratio: float = 1.0
    teacher_digest: str = ""
    tasks: tuple[TaskRows, ...] = ()
    held_out: Mapping[str, Any] = field(default_factory=dict)
    task_scales: tuple[float, ...] = ()

    @property
    def labels(self) -> list[str]:
        """Columns of the files with the labels, one a task."""
        return label_names(len(self.tasks))

    @property
    def label_weights(self) -> list[str]:
        """Columns of the files with the labels' weights, one a task; none without any."""
        return Layout(0, 0, len(self.tasks), weighted=bool(self.task_scales)).label_weights

    @property
    def folder(self) -> str:
        """Folder that both parts lie in; it goes with them."""
        return self.train_path.rpartition("/data/")[0]

    def view(self, number: int) -> TrainingData:
        """Return the same rows and split, seen through a pair of `TrainingColumns.further`."""
        return replace(
            self,
            inputs=self.further[number],
            prefix=further_prefix(number),
            further=(),
            digest=f"{self.digest}-{number}",
        )


def checked_data(
    dataset: DataFrame,
    columns: TrainingColumns,
    inputs: Inputs,
    folder: str,
    expected: int | None,
    further: tuple[Inputs, ...] = (),
    held_out: Mapping[str, Any] | None = None,
) -> TrainingData:
    """Count what `training_rows.write_rows` wrote, and refuse what cannot be trained on.

    Parameters
    ----------
    dataset : DataFrame
        That was written.
    columns : TrainingColumns
    inputs : Inputs
    folder : str
    expected : int or None
        Rows that must be there, where not all might be seen from here.
    further : tuple of Inputs
        Of the further features.
    held_out : mapping or None
        From `training_rows.write_rows`.

    Raises
    ------
    ValueError
    """
    first = [
        feature_names(one, "" if k == 0 else further_prefix(k - 1))[0]
        for k, one in enumerate((inputs, *further))
    ]
    labels = label_names(max(1, len(columns.tasks)))
    weights = label_weight_names(columns)
    digested = [*labels, "weight", *weights, *first]
    train, valid = (
        labelled_rows(f"{folder}/data/split={split}", digested, labels, weights)
        for split in (TRAIN, VALID)
    )
    dropped = row_count(f"{folder}/data/split={DROPPED}")
    invalid = reason_counts(f"{folder}/data/split={INVALID}")
    skipped = sum(invalid.values())
    rows = train.rows + valid.rows + dropped + skipped
    if expected is not None and rows != expected:
        raise ValueError(
            f"the driver sees {rows} of the {expected} training rows written under {folder}: "
            "set cacheDir to a folder that the driver and all executors share"
        )
    if rows == 0:
        raise ValueError(f"the dataset has no rows to train on (written to {folder})")
    _check_labels(dataset, columns, train, valid, dropped, invalid)
    if skipped:
        logger.warning("%d of %d rows were skipped as invalid", skipped, rows)
    shift = logit_shift(columns.negative_sampling_rate)
    tasks = []
    named = columns.tasks or (TaskLabel("", columns.label),)
    for task, of_train, of_valid in zip(named, train.tasks, valid.tasks, strict=True):
        name = task.name
        given = [
            f"weightCol {found!r}{of}"
            for found, of in ((columns.weight, ""), (task.weight, " of tasks"))
            if found is not None
        ]
        if given:
            _check_weights(" times ".join(given), of_train, of_valid, name)
        _warn(of_train, of_valid, name)
        tasks.append(
            TaskRows(
                name or columns.label,
                of_train.known + of_valid.known,
                of_train.ones + of_valid.ones,
                of_train.young + of_valid.young,
                log_odds(of_train.weight_ones, of_train.weight_zeros) - shift,
            )
        )
    return TrainingData(
        train_path=f"{folder}/data/split={TRAIN}",
        valid_path=f"{folder}/data/split={VALID}",
        inputs=inputs,
        rows=train.rows + valid.rows,
        train_rows=train.rows,
        valid_rows=valid.rows,
        positives=tasks[0].positives,
        skipped=skipped,
        dropped_negatives=dropped,
        logit_shift=shift,
        log_odds=tasks[0].log_odds,
        weight_scale=train.rows / train.weight if columns.weight is not None else 1.0,
        digest=f"{train.digest}-{valid.digest}",
        further=further,
        tasks=tuple(tasks),
        held_out=held_out or {},
        task_scales=tuple(t.row_weight / t.weight for t in train.tasks) if weights else (),
    )


def _check_labels(
    dataset: DataFrame,
    columns: TrainingColumns,
    train: LabelledRows,
    valid: LabelledRows,
    dropped: int,
    invalid: dict[int, int],
) -> None:
    skipped = sum(invalid.values())
    named = columns.tasks or (TaskLabel("", columns.label, columns.positive_label),)
    each = list(zip(named, train.tasks, valid.tasks, strict=True))
    # Rows of another label are no dirt where they are one of the two classes.
    if 0 in invalid:
        for task, of_train, _ in each:
            if _one_class(of_train) or columns.handle_invalid != "skip":
                unusual = unusual_labels(dataset, task.label, task.positive_label)
                if unusual:
                    raise ValueError(f"{invalid[0]} labels are null or not 0 or 1: {unusual}")
    if invalid and columns.handle_invalid != "skip":
        reasons = "; ".join(f"{REASONS[reason]}: {count}" for reason, count in invalid.items())
        labels = list(dict.fromkeys(task.label for task in named))
        by_column = f"label column {', '.join(map(repr, labels))}"
        if 1 in invalid:
            by_column += f", weightCol {columns.weight!r}"
        if 4 in invalid:
            of_tasks = dict.fromkeys(repr(task.weight) for task in named if task.weight)
            by_column += f", weightCol of tasks {', '.join(of_tasks)}"
        rows = train.rows + valid.rows + dropped + skipped
        raise ValueError(
            f"{skipped} of {rows} rows are invalid ({reasons}; {by_column}); "
            "clean them or set handleInvalid='skip'"
        )
    for task, of_train, of_valid in each:
        if _one_class(of_train):
            _refuse_one_class(task, of_train, of_valid, train, valid, dropped, skipped)


def _one_class(train: LabelCounts) -> bool:
    return not train.ones or not train.zeros


def _refuse_one_class(
    task: TaskLabel,
    of_train: LabelCounts,
    of_valid: LabelCounts,
    train: LabelledRows,
    valid: LabelledRows,
    dropped: int,
    skipped: int,
) -> None:
    rows = train.rows + valid.rows
    unknown = rows - of_train.known - of_valid.known
    young = of_train.young + of_valid.young
    left_out = [f"negativeSamplingRate left out {dropped} zeros"] if dropped else []
    left_out += [f"{skipped} invalid rows were skipped"] if skipped else []
    left_out += [f"the label is null or not known in {unknown - young} of {rows} rows"] * (
        unknown > young
    )
    left_out += [f"{young} rows are younger than matureAfter"] if young else []
    more = f", where {' and '.join(left_out)}" if left_out else ""
    of_task = f" of task {task.name!r}" if task.name else ""
    raise ValueError(
        f"label column {task.label!r}{of_task} has {of_train.zeros + of_valid.zeros} zeros and "
        f"{of_train.ones + of_valid.ones} ones ({of_train.zeros} and {of_train.ones} in the "
        f"training part{more}); a click model needs both"
    )


def _check_weights(name: str, train: LabelCounts, valid: LabelCounts, task: str = "") -> None:
    """Refuse weights that leave nothing to learn from, in the precision in which they are used."""
    of_task = f" of task {task!r}" if task else ""
    for rows, part in ((train, "training"), (valid, "validation")):
        if rows.weight > np.finfo(np.float32).max:
            raise ValueError(
                f"{name}: the weights of the {rows.known} {part} rows{of_task} sum to "
                f"{rows.weight:.3g}, which float32 cannot hold (at most 3.4e+38): divide the "
                "column by a constant, which changes nothing else"
            )
    for label, count, weight in (
        (0, train.zeros, train.weight_zeros),
        (1, train.ones, train.weight_ones),
    ):
        if not weight > 0:
            raise ValueError(
                f"{name} is 0 in all {count} training rows with label {label}{of_task}:"
                " a click model needs rows of both labels with a weight above 0"
            )
    if valid.known and not valid.weight > 0:
        raise ValueError(
            f"{name} is 0 in all {valid.known} validation rows{of_task}, so that they "
            "cannot choose the best epoch: give them weights, choose others, or set "
            "validationFraction=0"
        )


def _warn(train: LabelCounts, valid: LabelCounts, task: str = "") -> None:
    of_task = f"task {task!r}: " if task else ""
    positives = train.ones + valid.ones
    warning = too_few_events(positives, train.known + valid.known)
    if warning:
        logger.warning("%s%s", of_task, warning)
    young = train.young + valid.young
    if young:
        logger.warning(
            "%s%d rows are younger than matureAfter, and their labels are not used", of_task, young
        )
    if not valid.weight_ones or not valid.weight_zeros:
        weighted = "" if not valid.ones or not valid.zeros else ", one of them without weight"
        logger.warning(
            "%sthe validation part has %d zeros and %d ones%s: AUC cannot choose the best epoch",
            of_task,
            valid.zeros,
            valid.ones,
            weighted,
        )
