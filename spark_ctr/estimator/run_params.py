"""Params of a training run that do not change what is learned: processes, checkpoints, logs."""

from __future__ import annotations

from pyspark.ml.param import TypeConverters

from spark_ctr.stage.base import number, param
from spark_ctr.stage.fit_progress import titled
from spark_ctr.stage.params import HasVerbose
from spark_ctr.training.progress import Progress, make_progress
from spark_ctr.training.tracking import (
    MlflowProgress,
    SeveralProgress,
    TensorBoardProgress,
    require,
)


class HasTrainingRun(HasVerbose):
    """Mixin for how and where a training runs."""

    numWorkers = param(
        "numWorkers",
        "processes that train together, each in a Spark task (barrier mode) with a part of every "
        "batch; 1 trains in the driver's process",
        number("numWorkers", int, at_least=1),
        1,
    )
    checkpointDir = param(
        "checkpointDir",
        "folder (path or URI) for checkpoints, seen by driver and executors: fit with the same "
        "settings on the same rows goes on from the last one, also when it had finished; unset: no "
        "checkpoints. The folder is never cleared: remove it when it is not needed",
        TypeConverters.toString,
    )
    checkpointSteps = param(
        "checkpointSteps",
        "steps between two checkpoints, besides those after each epoch; 0: by time only",
        number("checkpointSteps", int, at_least=0),
        0,
    )
    checkpointMinutes = param(
        "checkpointMinutes",
        "longest time between two checkpoints; 0: by steps only",
        number("checkpointMinutes", float, at_least=0.0),
        10.0,
    )
    tensorBoardDir = param(
        "tensorBoardDir",
        "folder for TensorBoard's event files, which needs the package tensorboard; unset: none",
        TypeConverters.toString,
    )
    mlflowLogging = param(
        "mlflowLogging",
        "log the epochs to MLflow's active run, which needs the package mlflow",
        TypeConverters.toBoolean,
        False,
    )

    def progress(self, title: str) -> Progress:
        """Return a display of progress that also logs, silent unless ``verbose``."""
        shown = make_progress(title=titled(title)) if self.getVerbose() else Progress()
        return SeveralProgress([shown, self.tracking(title)])

    def tracking(self, title: str) -> Progress:
        """Return what logs the epochs to TensorBoard and MLflow."""
        trackers: list[Progress] = []
        if self._value("tensorBoardDir") is not None:
            trackers.append(TensorBoardProgress(self.getTensorBoardDir(), title))
        if self.getMlflowLogging():
            trackers.append(MlflowProgress(title))
        return SeveralProgress(trackers)

    def check_tracking(self) -> None:
        """Raise ImportError where a package that a Param needs is not installed."""
        if self._value("tensorBoardDir") is not None:
            require("tensorboard", "tensorBoardDir")
        if self.getMlflowLogging():
            require("mlflow", "mlflowLogging")
