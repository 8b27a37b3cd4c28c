"""Figures of the epochs in TensorBoard and MLflow, as displays of progress."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from typing import Any

from spark_ctr.training.progress import Progress


class SeveralProgress(Progress):
    """Several displays of one training."""

    def __init__(self, displays: Sequence[Progress]) -> None:
        self._displays = tuple(displays)

    def start_epoch(self, epoch: int, epochs: int, rows: int) -> None:  # noqa: D102
        for display in self._displays:
            display.start_epoch(epoch, epochs, rows)

    def advance(self, rows: int, loss: float) -> None:  # noqa: D102
        for display in self._displays:
            display.advance(rows, loss)

    def end_epoch(self, record: dict[str, Any]) -> None:  # noqa: D102
        for display in self._displays:
            display.end_epoch(record)

    def close(self) -> None:  # noqa: D102
        for display in self._displays:
            display.close()


class TensorBoardProgress(Progress):
    """Scalars for TensorBoard, an event file per training.

    Parameters
    ----------
    folder : str
        Local path, or a URL that TensorBoard can write.
    title : str
        Name of the training, a subfolder.
    """

    def __init__(self, folder: str, title: str) -> None:
        self._folder = f"{folder.rstrip('/')}/{title.replace(' ', '-')}"
        self._writer: Any = None

    def end_epoch(self, record: dict[str, Any]) -> None:  # noqa: D102
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder)
        for name, value in figures(record).items():
            self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()

    def close(self) -> None:  # noqa: D102
        if self._writer is not None:
            self._writer.close()


class MlflowProgress(Progress):
    """Metrics of MLflow's active run, ``TITLE/FIGURE`` each; without a run, MLflow starts one."""

    def __init__(self, title: str) -> None:
        self._title = title

    def end_epoch(self, record: dict[str, Any]) -> None:  # noqa: D102
        import mlflow

        named = {f"{self._title}/{name}": value for name, value in figures(record).items()}
        mlflow.log_metrics(named, step=record["epoch"])


def figures(record: dict[str, Any]) -> dict[str, float]:
    """Figures of an epoch's record that exist, but for the epoch itself; TASK/FIGURE of a task."""
    of_tasks = {
        f"{task}/{name}": value
        for task, found in record.get("tasks", {}).items()
        for name, value in found.items()
    }
    return {
        name: float(value)
        for name, value in (record | of_tasks).items()
        if name not in ("epoch", "tasks") and value is not None and not math.isnan(value)
    }


def require(package: str, param: str) -> None:
    """Raise ImportError, with the way out, where a package that a Param needs is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ImportError(
            f"{param} needs {package}, which is not installed: install it or unset {param}"
        )
