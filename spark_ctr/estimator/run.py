"""Run a training: in this process, or in several that Spark starts."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from scipy.special import expit

from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.summary import TrainingSummary
from spark_ctr.estimator.workers import threads_per_task, train_on_workers
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.stage.fit_progress import titled
from spark_ctr.stage.params import HasMainTask
from spark_ctr.training import Checkpoints, train
from spark_ctr.training.checkpoints import digest_of
from spark_ctr.training.feeds import Batch, Feed, UnlabelledFeed, open_feed, open_training_feed
from spark_ctr.training.operating_points import operating_points
from spark_ctr.training.training_run import TrainedNetwork, TrainingRun
from spark_ctr.training.worker import Job

_VALID_BATCH = 8192


def run_training(params: CTRParams, data: TrainingData, run: TrainingRun) -> TrainedNetwork:
    """Train a network on the rows of ``data``, where and with what logs the Params say."""
    if params.getNumWorkers() > 1:
        return _on_workers(params, data, run)
    feed, valid = open_feeds(params, data)
    checkpoints = _checkpoints(params, data, run)
    history = train(
        run.network,
        feed,
        valid,
        run.settings,
        loss=run.objective.loss(run.network),
        progress=params.progress(run.title),
        checkpoints=Checkpoints(**checkpoints) if checkpoints else None,
    )
    return TrainedNetwork(run.network, history.to_dict(), feed.kind)


def open_feeds(params: CTRParams, data: TrainingData) -> tuple[Feed | UnlabelledFeed, Feed | None]:
    """Open the feeds of training and validation rows; None for no validation rows."""
    train_feed, valid_feed = _feed_arguments(params, data)
    feed = open_training_feed(train_feed, _unlabelled_arguments(params, data, train_feed))
    return feed, open_feed(**valid_feed) if valid_feed else None


def first_rows(params: CTRParams, data: TrainingData, rows: int | None = None) -> Batch:
    """Return some training rows, whose order is random.

    They are `rows`, or those of a batch, or all where there are fewer.
    """
    arguments, _ = _feed_arguments(params, data)
    changed = {"kind": "pyarrow", "shuffle": False, "batch_size": rows or arguments["batch_size"]}
    return next(iter(open_feed(**arguments | changed).batches(0)))


def summary_of(
    params: CTRParams,
    data: TrainingData,
    trained: TrainedNetwork,
    predict: Callable[[np.ndarray, np.ndarray], np.ndarray],
    extra: dict[str, Any],
) -> TrainingSummary:
    """Sum up a training; see `_validation_points` for ``predict``."""
    return TrainingSummary(
        trained.history,
        data.rows,
        data.positives,
        data.skipped,
        trained.feed,
        extra,
        data.dropped_negatives,
        params.getNumWorkers(),
        1 / (1 + math.exp(-data.log_odds)),
        _validation_points(params, data, predict),
        {task.name: asdict(task) for task in data.tasks} if len(data.tasks) > 1 else {},
        dict(data.held_out),
    )


def _validation_points(
    params: CTRParams, data: TrainingData, predict: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, list[float]]:
    """Return what thresholds of the main task's probability catch on the validation rows.

    Parameters
    ----------
    params : CTRParams
    data : TrainingData
    predict : function
        From ids and numbers to logits [B, T].
    """
    _, arguments = _feed_arguments(params, data)
    if arguments is None:
        return operating_points([], [])
    task = 0
    if len(data.tasks) > 1 and isinstance(params, HasMainTask):
        task = params.main_task([one.name for one in data.tasks])
    logits, labels, weights = [], [], []
    for batch in open_feed(**arguments | {"kind": "pyarrow"}).batches(0):
        known = slice(None) if batch.known is None else batch.known[:, task].numpy()
        logits.append(predict(batch.ids.numpy(), batch.numeric.numpy())[known, task])
        labels.append(batch.label[:, task].numpy()[known])
        weight = (
            batch.weight
            if batch.label_weight is None
            else (batch.weight * batch.label_weight[:, task])
        )
        weights.append(weight.numpy()[known])
    # The double that scoring in Spark makes of the same logit.
    z = np.concatenate(logits).astype(np.float64)
    return operating_points(np.concatenate(labels), expit(z), np.concatenate(weights))


def _on_workers(params: CTRParams, data: TrainingData, run: TrainingRun) -> TrainedNetwork:
    workers = params.getNumWorkers()
    train_feed, valid_feed = _feed_arguments(params, data)
    train_feed |= {"batch_size": params.getBatchSize() // workers}
    # A folder of its own for each of the trainings that share the rows.
    folder = f"{data.folder}/{uuid.uuid4().hex}"
    job = Job(
        folder=folder,
        train_feed=train_feed,
        unlabelled_feed=_unlabelled_arguments(params, data, train_feed),
        valid_feed=valid_feed,
        settings=run.settings,
        terms=run.objective.to_dicts(),
        frozen=list(run.objective.frozen),
        change=run.change,
        # Where Spark loses a process, it starts all again: an epoch is the most that is lost.
        checkpoints=_checkpoints(params, data, run) or {"folder": f"{folder}/checkpoints"},
        threads=threads_per_task(),
        title=titled(run.title) if params.getVerbose() else None,
    )
    job.leave(run)
    returned = train_on_workers(job, workers, params.getDevice())
    tracking = params.tracking(run.title)
    for record in returned["history"]["epochs"]:
        tracking.end_epoch(record)
    tracking.close()
    return TrainedNetwork(job.network("result"), returned["history"], returned["feed"])


def _feed_arguments(
    params: CTRParams, data: TrainingData
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Arguments of ``open_feed`` for the training and the validation rows."""

    def arguments(path: str, shuffle: bool) -> dict[str, Any]:
        return {
            "path_or_url": path,
            "n_ids": data.inputs.ids_width,
            "n_numeric": len(data.inputs.numeric),
            "kind": params.getFeed(),
            "batch_size": params.getBatchSize() if shuffle else _VALID_BATCH,
            "shuffle": shuffle,
            "seed": params.getSeed(),
            "shuffle_buffer_rows": params.getShuffleBufferRows(),
            "weight_scale": data.weight_scale,
            "n_labels": len(data.labels),
            "n_teacher": data.teacher,
            "prefix": data.prefix,
            "task_scales": list(data.task_scales),
        }

    valid = arguments(data.valid_path, False) if data.valid_rows else None
    return arguments(data.train_path, True), valid


def _unlabelled_arguments(
    params: CTRParams, data: TrainingData, labelled: dict[str, Any]
) -> dict[str, Any] | None:
    """Arguments of ``open_feed`` for the rows without labels; None where there are none."""
    if data.unlabelled_path is None:
        return None
    return labelled | {
        "path_or_url": data.unlabelled_path,
        "batch_size": math.ceil(labelled["batch_size"] * data.unlabelled_ratio),
        # An order of their own, also where they are as many as the labelled rows.
        "seed": params.getSeed() + 1,
        "weight_scale": 1.0,
        "n_labels": 1,
        "task_scales": [],
    }


def _checkpoints(params: CTRParams, data: TrainingData, run: TrainingRun) -> dict[str, Any] | None:
    """Arguments of ``Checkpoints``; None without a folder."""
    folder = params._value("checkpointDir")
    if folder is None:
        return None
    frozen = run.objective.frozen
    return {
        "folder": folder,
        "every_steps": params.getCheckpointSteps(),
        "every_seconds": params.getCheckpointMinutes() * 60,
        "run": {
            "data": data.digest,
            "rows": [data.train_rows, data.valid_rows],
            "shuffle_buffer_rows": params.getShuffleBufferRows(),
            "objective": run.objective.to_dicts(),
            "frozen": {name: digest_of(net.state_dict()) for name, net in frozen.items()},
            "change": run.change and asdict(run.change),
        }
        | ({"teacher": [data.teacher_digest, data.unlabelled_ratio]} if data.teacher else {}),
    }
