"""Two Spark tasks train the model that one process trains."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F
from small_classifier import classifier, figures

from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.multitask import MultiTaskClassifier
from spark_ctr.quantization import MixedPrecisionQuantizer


def test_two_workers_distil_as_one_process_does(small_clicks):
    def distiller(workers):
        # bfloat16 agrees to its own rounding only.
        teacher = classifier(maxIter=1, precision="float32").fit(small_clicks)
        student = classifier(network="dnn", numWorkers=workers, precision="float32")
        params = {"hiddenWeight": 0.1, "recombine": False, "compareWithLabels": False}
        return LayerwiseDistiller(teacher=teacher, student=student, maxIter=3, **params)

    one, two = (distiller(workers).fit(small_clicks) for workers in (1, 2))
    assert two.summary.workers == 2 and two.summary.rows == 600
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-4)
    weights = one.torchNetwork.state_dict()
    for name, found in two.torchNetwork.state_dict().items():
        np.testing.assert_allclose(found, weights[name], rtol=1e-3, atol=1e-5)


@pytest.mark.once
def test_two_workers_fine_tune_as_one_process_does(small_clicks, monkeypatch):
    first = classifier(network="dnn", hiddenLayers=[8, 6, 4], precision="float32").fit(small_clicks)

    def quantised(workers):
        stage = MixedPrecisionQuantizer(classifier=first.copy({first.numWorkers: workers}))
        return stage.setParams(maxIter=2, tolerance=1.0, lossTolerance=1e9, binaryShare=0.5).fit(
            small_clicks
        )

    one = quantised(1)
    with monkeypatch.context() as patched:
        # Here nothing trains: the processes that Spark starts do.
        patched.setattr("spark_ctr.estimator.run.train", None)
        two = quantised(2)
    assert two.summary.workers == 2 and one.summary.workers == 1
    assert two.plan == one.plan and "binary" in two.plan.values()
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-3)


@pytest.mark.once
@pytest.mark.parametrize(
    "weighting",
    [
        "given",
        "pcgrad",
        pytest.param("uncertainty", marks=pytest.mark.full),
        pytest.param("gradnorm", marks=pytest.mark.full),
    ],
)
def test_two_workers_train_several_tasks_as_one_process_does(small_clicks, weighting):
    # Few labels are known: of many batches all, or none, are in one worker's part.
    rows = small_clicks.withColumn("sale", F.expr("IF(numericFeatures[0] > 1.0, label, NULL)"))
    stage = MultiTaskClassifier(
        labelCols=["label", "sale"],
        network="shared_bottom",
        hiddenLayers=[8, 4],
        networkOptions={"tower_layers": [3]},
        dropout=0.0,
        batchNorm=False,
        taskWeighting=weighting,
        batchSize=16,
        maxIter=2,
        learningRate=0.01,
        validationFraction=0.3,
        precision="float32",
        device="cpu",
        verbose=False,
    )
    one, two = (stage.copy({stage.numWorkers: workers}).fit(rows) for workers in (1, 2))
    assert two.summary.workers == 2
    assert 20 < one.summary.tasks["sale"]["known"] < 150
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-3)
    weights = one.torchNetwork.state_dict()
    for name, found in two.torchNetwork.state_dict().items():
        np.testing.assert_allclose(found, weights[name], rtol=1e-3, atol=1e-4)
