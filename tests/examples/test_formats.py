"""The main job on logs in other formats."""

from __future__ import annotations

import json
import os

import pytest

from spark_ctr.feature import infer_roles

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        os.environ.get("SPARK_CTR_TEST_MODE") == "connect",
        reason="the job starts sessions of its own; one of its tests is on Connect",
    ),
]


def test_columns_of_json_have_the_roles_of_parquet(job, spark, log):
    def roles(kind):
        read = job.read(spark, f"{log}/log.{kind}", None)
        return {role.column: role.role for role in infer_roles(read, {"click": "label"})}

    assert roles("json") == roles("parquet")


def test_csv_and_words_for_every_column(job, log, tmp_path):
    words = ["--input", f"{log}/log.csv", "--label", "conversion", "--categorical", "slot"]
    words += ["--numeric", "price", "--ignore", "*", "--time", "timestamp", "--split", "random"]
    job.main([*words, "--epochs", "1", "--output", f"{tmp_path}/out"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["data"]["label"] == "conversion"
    assert [row["column"] for row in report["cleaning"]] == ["slot", "price", "timestamp"]
    # Equal rows stay on one side, so the share is not exact.
    assert 300 < report["data"]["test_rows"] < 900
    assert any("carry too little" in warning for warning in report["data"]["warnings"])
