"""The main job under other launchers, masters and formats: the same scores, the same warnings."""

from __future__ import annotations

import json
import os

import pyspark
import pytest
from job_process import run, scores, submit

pytestmark = pytest.mark.skipif(
    os.environ.get("SPARK_CTR_TEST_MODE") == "connect",
    reason="the job starts sessions of its own; one of its tests is on Connect",
)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_other_formats(job, log, tmp_path, kind):
    words = ["--input", f"{log}/log.{kind}", "--label", "conversion", "--categorical", "slot"]
    words += ["--numeric", "price", "--ignore", "*", "--time", "timestamp", "--split", "random"]
    job.main([*words, "--epochs", "1", "--output", f"{tmp_path}/out"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["data"]["label"] == "conversion"
    assert [row["column"] for row in report["cleaning"]] == ["slot", "price", "timestamp"]
    # Equal rows stay on one side, so the share is not exact.
    assert 300 < report["data"]["test_rows"] < 900
    assert any("carry too little" in warning for warning in report["data"]["warnings"])


def test_two_workers_give_the_same_scores(generated, log, tmp_path):
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000"),
        launcher=submit("--master", "local-cluster[2,1,1024]"),
    )
    assert scores(tmp_path) == scores(generated[1])


def test_connect_gives_the_same_scores(generated, log, tmp_path):
    if pyspark.__version__.startswith("3."):
        pytest.skip("PySpark 3.5 has no spark.ml on Connect")
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000"),
        SPARK_REMOTE="local[2]",
        SPARK_TESTING="1",  # a free port
    )
    assert scores(tmp_path) == scores(generated[1])
