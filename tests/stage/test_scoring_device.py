"""Where a quantised model scores: its Param, what is refused before a job, and what Spark gives."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from benchmarks.model_loading import generated_model
from spark_ctr.estimator import workers
from spark_ctr.kernels.cuda import NoDevice, open_device
from spark_ctr.quantization import QuantizedCTRClassificationModel
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.runtime.serialization import packed_from_bytes
from spark_ctr.tables import Inputs

ROOT = Path(__file__).parents[2]


def model_on(device):
    packed = packed_from_bytes(generated_model(1, 0))
    return QuantizedCTRClassificationModel(device=device)._with(packed, None)


def rows(spark):
    return spark.range(20).select(
        F.array(F.col("id").cast("int")).alias("categoricalFeatures"),
        F.array((F.col("id") % 7).cast("float")).alias("numericFeatures"),
    )


def logits(spark, model):
    scored = model.transform(rows(spark))
    return [row[0] for row in scored.select(vector_to_array("rawPrediction")[1]).collect()]


def test_tasks_without_a_gpu_score_by_the_cpu(spark):
    assert model_on("auto").getDevice() == QuantizedCTRClassificationModel().getDevice() == "auto"
    assert logits(spark, model_on("auto")) == logits(spark, model_on("cpu"))


def test_a_gpu_that_is_not_there_is_an_error_if_it_is_asked_for(spark):
    try:
        open_device(0)
    except NoDevice as error:
        reason = str(error)
    else:
        pytest.skip("a GPU is there")
    with pytest.raises(Exception, match="NoDevice") as raised:
        logits(spark, model_on("cuda"))
    assert reason in str(raised.value)


def test_a_cluster_whose_tasks_have_no_gpus_is_refused_before_a_job(spark, monkeypatch):
    monkeypatch.setattr(workers, "_master", lambda _: "yarn")
    with pytest.raises(ValueError, match=r"^device='cuda' .*spark\.task\.resource\.gpu\.amount"):
        model_on("cuda").transform(rows(spark))


def test_a_network_that_kernels_cannot_compute_is_refused_before_a_job(spark):
    b = ProgramBuilder(Inputs(tables=(), numeric=("x",)), {})
    packed = PackedModel.from_arrays(*b.build(b.add("tanh", NUMERIC), ["click"], "none"))
    model = QuantizedCTRClassificationModel(device="cuda")._with(packed, None)
    data = spark.range(1).selectExpr(
        "cast(array() as array<int>) categoricalFeatures", "array(0f) numericFeatures"
    )
    with pytest.raises(ValueError, match=r"^device='cuda' .*operations tanh; use 'auto' or 'cpu'"):
        model.transform(data)


@pytest.mark.parametrize("wrong", ["gpu", "cuda:1", 0])
def test_other_devices_are_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="device"):
        QuantizedCTRClassificationModel(device=wrong)


@pytest.mark.once
def test_tasks_that_spark_gives_a_gpu_try_it_and_say_why_not(tmp_path):
    """Spark hands out a GPU that no driver knows."""
    try:
        open_device(0)
    except NoDevice:
        pass
    else:
        pytest.skip("a GPU is there")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("PYSPARK_DAEMON_MODULE", None)
    done = subprocess.run(
        [sys.executable, "-m", "tests.stage.gpu_tasks"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"tasks": ["['0'], said 1"], "same": True}
