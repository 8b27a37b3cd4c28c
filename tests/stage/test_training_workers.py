"""Training in several Spark tasks: the same model, and what becomes of failures."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.networks import Inputs, Table
from spark_ctr.stage.columns import with_metadata

INPUTS = Inputs((Table("site", 6, 4), Table("ad", 5, 2)), ("age",))
FAILING = "tests.stage.failing_network:Failing"


@pytest.fixture(scope="module")
def data(spark):
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(600):
        site, ad, age = int(draw.integers(6)), int(draw.integers(5)), float(draw.normal())
        click = draw.random() < 1 / (1 + np.exp(1 - 2 * np.sin(site * ad) - age))
        rows.append(([site, ad], [age], int(click)))
    frame = spark.createDataFrame(rows, "a array<int>, b array<float>, label int")
    tables = [table.to_dict() for table in INPUTS.tables]
    return frame.select(
        "label",
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": ["age"]}),
    )


def classifier(**params):
    defaults = {
        "hiddenLayers": [8, 4],
        "dropout": 0.0,
        "batchNorm": False,
        "batchSize": 64,
        "maxIter": 3,
        "learningRate": 0.01,
        "device": "cpu",
        "verbose": False,
    }
    return CTRClassifier(**defaults | params)


def figures(model):
    return [(e["train_loss"], e["valid_auc"]) for e in model.summary.history["epochs"]]


def test_two_workers_distil_as_one_process_does(data):
    def distiller(workers):
        teacher = classifier(maxIter=1).fit(data)
        student = classifier(network="dnn", numWorkers=workers)
        return LayerwiseDistiller(teacher=teacher, student=student)

    one, two = (distiller(workers).fit(data) for workers in (1, 2))
    assert two.summary.workers == 2 and two.summary.rows == 600
    np.testing.assert_allclose(figures(two), figures(one), rtol=1e-4)
    weights = one.torchNetwork.state_dict()
    for name, found in two.torchNetwork.state_dict().items():
        np.testing.assert_allclose(found, weights[name], rtol=1e-3, atol=1e-5)


def test_an_error_of_a_worker_is_the_drivers(data, tmp_path):
    options = {"how": "raise", "at": 3, "marker": str(tmp_path / "failed")}
    with pytest.raises(RuntimeError, match="planted") as caught:
        classifier(network=FAILING, networkOptions=options, numWorkers=2).fit(data)
    assert "Traceback of training worker 1" in str(caught.value)
    assert 'raise OverflowError("planted")' in str(caught.value)


def test_a_killed_worker_costs_an_epoch(data, tmp_path):
    def trained(name):
        options = {"how": "kill", "at": 12, "marker": str(tmp_path / "marker")}
        return classifier(network=FAILING, networkOptions=options, numWorkers=2).fit(data)

    killed = trained("killed")
    assert (tmp_path / "marker").exists()
    assert killed.summary.history["resumed_at"] == [9]
    whole = classifier(network="dnn", hiddenLayers=[4], numWorkers=1).fit(data)
    np.testing.assert_allclose(figures(killed), figures(whole), rtol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"numWorkers": 3, "batchSize": 64}, "batchSize .64. is shared among numWorkers .3."),
        ({"numWorkers": 4}, "numWorkers .4. tasks must run at the same time"),
        ({"numWorkers": 2, "device": "cuda"}, "spark.task.resource.gpu.amount"),
    ],
)
def test_what_cannot_run_is_refused_before_a_job(data, params, message):
    with pytest.raises(ValueError, match=message):
        classifier(**params).fit(data)
