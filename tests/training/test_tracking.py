"""Figures of the epochs in TensorBoard and MLflow, read back from what these wrote."""

import math

import pytest
from memory_log import PLAIN

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.tracking import (
    MlflowProgress,
    SeveralProgress,
    TensorBoardProgress,
    figures,
    require,
)


def trained(inputs, make_rows, memory_feed, progress):
    """Train two epochs with a display; return the history."""
    settings = TrainingSettings(**PLAIN, max_epochs=2, device="cpu")
    feeds = memory_feed(make_rows(200, 1), 64), memory_feed(make_rows(100, 2), 64)
    return train(build_network("lr", inputs), *feeds, settings, progress=progress)


def test_tensorboard_has_every_figure(inputs, make_rows, memory_feed, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    progress = SeveralProgress([TensorBoardProgress(f"{tmp_path}/", "training lr")])
    history = trained(inputs, make_rows, memory_feed, progress)
    events = EventAccumulator(str(tmp_path / "training-lr")).Reload()
    assert set(events.Tags()["scalars"]) == set(history.epochs[0]) - {"epoch"}
    for name in ("train_loss", "valid_auc"):
        values = [(event.step, event.value) for event in events.Scalars(name)]
        assert values == [(e["epoch"], pytest.approx(e[name])) for e in history.epochs]


def test_mlflow_has_every_figure(inputs, make_rows, memory_feed, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # recent versions ask for it
    mlflow.set_tracking_uri(f"file://{tmp_path}")
    mlflow.set_experiment("clicks")
    with mlflow.start_run() as run:
        history = trained(inputs, make_rows, memory_feed, MlflowProgress("training lr"))
    logged = mlflow.MlflowClient().get_metric_history(run.info.run_id, "training lr/valid_auc")
    assert [(m.step, m.value) for m in logged] == [
        (e["epoch"], e["valid_auc"]) for e in history.epochs
    ]


def test_figures_that_do_not_exist_are_left_out():
    assert figures({"epoch": 0, "a": 1, "b": math.nan, "c": None}) == {"a": 1.0}


def test_a_package_that_is_missing_is_named():
    require("json", "tensorBoardDir")
    with pytest.raises(ImportError, match="mlflowLogging needs no_such_package"):
        require("no_such_package", "mlflowLogging")
