"""A fit that was cut off goes on from its checkpoints, whatever the partitions of the rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_classifier import classifier

from spark_ctr.classification import CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.quantization import MixedPrecisionQuantizer
from tests.kill_at import KillAt, Killed

pytestmark = pytest.mark.once


def same(one, two):
    weights = two.torchNetwork.state_dict()
    return all(torch.equal(v, weights[k]) for k, v in one.torchNetwork.state_dict().items())


@pytest.mark.parametrize("distil", [False, True], ids=["classifier", "distiller"])
def test_a_fit_goes_on_to_the_same_model(small_clicks, tmp_path, monkeypatch, distil):
    def stage(folder=None):
        folders = {"checkpointDir": f"{tmp_path}/{folder}"} if folder else {}
        one = classifier(checkpointSteps=2, network="dnn", dropout=0.3, **folders)
        if not distil:
            return one
        student_alone = {"maxIter": 3, "recombine": False, "compareWithLabels": False}
        first = classifier(maxIter=1, **folders)
        return LayerwiseDistiller(teacher=first, student=one, **student_alone)

    whole = stage().fit(small_clicks)
    # The distiller's teacher has 9 batches, and is whole when the student is stopped.
    batches = KillAt(9 + 12 if distil else 12)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(CTRClassifier, "progress", lambda stage, title: batches)
        stage("kept").fit(small_clicks)
    resumed = stage("kept").fit(small_clicks.repartition(3))
    assert resumed.summary.history["resumed_at"] == [10]
    assert same(whole, resumed)
    if distil:
        assert resumed.teacher.summary.history["resumed_at"] == [9]


def test_fine_tuning_goes_on_to_the_same_model(small_clicks, tmp_path, monkeypatch):
    def fit(rows, folder=None):
        folders = {"checkpointDir": f"{tmp_path}/{folder}"} if folder else {}
        first = classifier(maxIter=1, network="dnn", hiddenLayers=[8, 6, 4], **folders)
        stage = MixedPrecisionQuantizer(classifier=first, maxIter=2, binaryShare=0.5)
        return stage.setTolerance(1.0).setLossTolerance(1e9).fit(rows)

    whole = fit(small_clicks)
    # The classifier has 9 batches, and is whole when fine-tuning is stopped.
    batches = KillAt(9 + 12)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(CTRClassifier, "progress", lambda stage, title: batches)
        fit(small_clicks, "kept")
    resumed = fit(small_clicks.repartition(3), "kept")
    assert resumed.fullPrecisionModel.summary.history["resumed_at"] == [9]
    assert resumed.summary.history["resumed_at"] == [9]
    assert resumed.to_bytes() == whole.to_bytes()


def test_other_rows_are_trained_from_the_start(small_clicks, tmp_path):
    stage = classifier(checkpointDir=str(tmp_path), maxIter=1)
    stage.fit(small_clicks)
    assert stage.fit(small_clicks).summary.history["resumed_at"] == [9]
    assert stage.fit(small_clicks.limit(590)).summary.history["resumed_at"] == []
    assert stage.setSeed(1).fit(small_clicks).summary.history["resumed_at"] == []


def test_summary_tells_time_and_memory(small_clicks):
    history = classifier(maxIter=1).fit(small_clicks).summary.history
    (epoch,) = history["epochs"]
    assert epoch["rows_per_second"] > 0 and 0 <= epoch["data_wait_share"] <= 1
    assert epoch["peak_memory"] > 50e6
    assert np.isfinite(epoch["train_loss"])
