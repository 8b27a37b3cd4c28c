"""A log, the main job as a module, and its output on the log."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path

import pytest
from job_process import JOB

COLUMNS = (
    *("request_id", "timestamp", "click", "conversion"),
    *("click_probability", "conversion_probability"),
    *("ad_id", "site_id", "device", "slot", "log_version", "price", "age"),
)


@pytest.fixture(scope="session")
def job(spark):
    """The job as a module; its ``main`` finds the session of the tests."""
    spec = importlib.util.spec_from_file_location("ctr_pipeline", JOB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def log(spark, tmp_path_factory) -> Path:
    """A generated log of 3,000 rows, a column or two of each kind, as Parquet, CSV and JSON."""
    from spark_ctr.datasets import click_log

    folder = tmp_path_factory.mktemp("log with a blank")
    rows = click_log(spark, 3_000, seed=1).select(*COLUMNS).coalesce(2)
    rows.write.parquet(f"{folder}/log.parquet")
    saved = spark.read.parquet(f"{folder}/log.parquet")
    saved.write.csv(f"{folder}/log.csv", header=True)
    saved.write.json(f"{folder}/log.json")
    return folder


@pytest.fixture(scope="session")
def generated(job, log, tmp_path_factory):
    """What the job says of the Parquet log, and its output."""
    output = tmp_path_factory.mktemp("output")
    words = ["--input", f"{log}/log.parquet", "--slot", "slot", "--epochs", "2"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        # A target that every plan meets, so that the front is measured.
        words += ["--output", str(output), "--row-budget", "2000", "--max-bytes", f"{10**8}"]
        job.main(words)
    return said.getvalue(), output
