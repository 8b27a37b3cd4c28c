"""Spark's workers map one file of a model; what happens to them and to the file loses no score."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from benchmarks.model_loading import generated_model, memory
from spark_ctr.quantization import QuantizedCTRClassificationModel
from spark_ctr.runtime.serialization import packed_from_bytes
from tests.stage import killed_worker

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux says what processes share"),
]

ROWS, BATCH = 40_000, 2_000
ROOT = Path(__file__).parents[2]


def model_of(mebibytes, seed=0):
    packed = packed_from_bytes(generated_model(mebibytes, seed))
    return QuantizedCTRClassificationModel()._with(packed, None)


def scored(spark, model):
    """Ids and logits of rows in two partitions, from everywhere in the table."""
    table = F.lit(model.inputs.tables[0].rows)
    item = F.pmod(F.col("id") * 999_983, table).cast("int")
    data = spark.range(0, ROWS, 1, 2).select(
        "id",
        F.array(item).alias("categoricalFeatures"),
        F.array((F.col("id") % 7).cast("float")).alias("numericFeatures"),
    )
    return model.transform(data).select("id", vector_to_array("rawPrediction")[1])


def expected(model):
    """The same rows as this process scores them, from its own memory."""
    numbers = np.arange(ROWS)
    ids = (numbers * 999_983 % model.inputs.tables[0].rows).astype(np.int32)
    logits = model.predictor()(ids[:, None], (numbers % 7).astype(np.float32)[:, None])
    return list(zip(numbers.tolist(), logits.astype(np.float64).tolist(), strict=True))


def check(rows, model):
    """The scores are those of the model, to the bit."""
    assert list(killed_worker.lines(rows)) == list(killed_worker.lines(expected(model)))


def processes():
    """The processes of Spark's Python workers, and their daemons."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.name() != "java":
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def private_memory():
    """Bytes that each process has for itself; some end while they are asked."""
    found = {}
    for pid in processes():
        with suppress(ProcessLookupError, FileNotFoundError):
            found[pid] = memory(pid)["Private"]
    return found


def mapped_by(pid):
    """Files of ours that a process maps."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split(maxsplit=5)[5]) for line in lines if "/spark_ctr-" in line}


@pytest.fixture(scope="module")
def big():
    return model_of(64)


def workers_of(model):
    """Workers that map the model, and the file."""
    digest = hashlib.sha256(model.to_bytes()).hexdigest()
    found = {pid: {f for f in mapped_by(pid) if f.name == digest} for pid in processes()}
    found = {pid: files for pid, files in found.items() if files}
    files = set().union(*found.values())
    return sorted(found), files


def test_two_workers_share_one_model(spark, big):
    small = model_of(0.01)
    check(scored(spark, small).collect(), small)
    before = private_memory()
    check(scored(spark, big).collect(), big)
    pids, (file,) = workers_of(big)
    assert len(pids) == 2 and file.stat().st_mode & 0o777 == 0o600
    table = 64 << 20
    after = private_memory()
    gained = [after[pid] - before[pid] for pid in pids]
    assert max(gained) <= table / 10
    assert min(memory(pid)["Shared"] for pid in pids) >= table


def test_a_file_that_is_damaged_on_its_host_is_written_anew(spark, big):
    check(scored(spark, big).collect(), big)
    pids, (file,) = workers_of(big)
    whole = file.read_bytes()
    # The workers go, so that the next ones have to read the file.
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)
    check(scored(spark, big).collect(), big)
    assert file.read_bytes() == whole
    again, files = workers_of(big)
    assert files == {file} and not set(again) & set(pids)


def test_a_killed_worker_fails_the_query_alone(spark):
    """Where a task is tried once, as in ``local[2]``: Spark's error, and nothing is lost."""
    model = model_of(2, seed=1)
    model._loader = killed_worker.LOADER
    key = "spark.sql.execution.arrow.maxRecordsPerBatch"
    kept = spark.conf.get(key)
    spark.conf.set(key, str(BATCH))
    try:
        with pytest.raises(Exception, match="Python worker exited unexpectedly"):
            scored(spark, model).collect()
        check(scored(spark, model).collect(), model)
    finally:
        spark.conf.set(key, kept)


def test_a_killed_worker_costs_a_retry(tmp_path):
    """Where tasks are tried again, the query itself gives the scores."""
    data = generated_model(2, seed=2)
    (tmp_path / "model").write_bytes(data)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_"))}
    kept |= {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    command = [sys.executable, killed_worker.__file__, str(tmp_path / "model")]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    # It was killed, and Spark says so.
    assert "Lost task" in done.stderr and "Python worker exited unexpectedly" in done.stderr
    model = QuantizedCTRClassificationModel()._with(packed_from_bytes(data), None)
    assert done.stdout.splitlines() == list(killed_worker.lines(expected(model)))
