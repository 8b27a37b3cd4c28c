"""The main job on a log as it comes: texts for times, arrays, null ids, −1 and 1."""

from __future__ import annotations

import datetime
import json
import os
import random

import pyarrow.parquet as pq
import pytest
from job_process import run, submit

pytestmark = pytest.mark.skipif(
    os.environ.get("SPARK_CTR_TEST_MODE") == "connect", reason="the job starts its own session"
)
ROWS, BAD = 1_200, 12


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """JSON Lines; the user's id is a fraction, as pandas writes whole numbers beside nulls."""
    draw, start = random.Random(1), datetime.datetime(2024, 3, 1)
    path = tmp_path_factory.mktemp("raw") / "clicks.json"
    with path.open("w") as file:
        for i in range(ROWS):
            moment = start + datetime.timedelta(minutes=11 * i)
            site = draw.choice("abcdef")
            row = {
                "when": "never" if i % (ROWS // BAD) == 7 else moment.isoformat(" "),
                "site": site,
                "tags": draw.sample(["red", "green", "blue", "grey"], draw.randint(1, 3)),
                "user_id": None if i % 10 == 0 else float(draw.randint(1, 90)),
                "price": round(draw.random(), 3),
                "click": 1 if draw.random() < (0.6 if site in "abc" else 0.2) else -1,
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.mark.once
def test_spark_submit_finds_out_and_says(raw, tmp_path):
    a_worker = submit("--master", "local-cluster[1,2,1024]")
    done = run("--input", raw, "--epochs", 1, "--output", tmp_path / "out", launcher=a_worker)
    said = done.stdout + done.stderr  # spark-submit joins them
    assert " ERROR " not in said and "Traceback" not in said
    assert sum(" INFO " in line for line in said.splitlines()) < 10
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    roles = {role["column"]: role["role"] for role in report["columns"]}
    assert roles["click"] == "label" and roles["when"] == "time" and roles["price"] == "numeric"
    assert {roles[name] for name in ("site", "tags", "user_id")} == {"categorical"}
    assert "'1' is a click; its values are " in said and "'-1' (" in said
    assert "the latest 20% of the rows by 'when' are test rows" in said
    assert f"{BAD} rows without a readable time in 'when'" in said
    assert f"when: {BAD} of " in said
    assert "with its JVM functions" in said
    scored = pq.read_table(tmp_path / "out" / "scored")
    times = scored["when"].to_pylist()
    assert scored.num_rows == pytest.approx(0.2 * (ROWS - BAD), rel=0.05)
    assert "never" not in times and min(times) > "2024-03-07"
    assert all(0 < model["auc"] < 1 for model in report["models"].values())


def test_latest_rows_are_held_out_whatever_reads_as_a_time(job, spark):
    rows = [(f"2024-01-{day:02d}",) for day in range(1, 21)] + [("soon",), (None,), ("12:30:00",)]
    log = spark.createDataFrame(rows, "t string")
    early, late, timeless = job.hold_out_late(log, "t", 0.25)
    assert timeless == 3
    assert sorted(row.t for row in late.collect()) == [f"2024-01-{day}" for day in range(16, 21)]
    assert early.count() == 18
    with pytest.raises(ValueError, match="no row has a readable time in 't'.*--split random"):
        job.hold_out_late(log.filter("t = 'soon'"), "t", 0.25)


@pytest.mark.parametrize(
    ("values", "positive"),
    [([-1, 1], "1"), (["no", "yes"], "yes"), ([0, 1], "1"), ([False, True], "true")],
)
def test_the_label_that_is_a_click(job, spark, values, positive, capsys):
    log = spark.createDataFrame([(value,) for value in values], ["clicked"])
    found = job.find_positive(log, "clicked", None)
    assert found == positive
    assert f"'clicked': {positive!r} is a click" in capsys.readouterr().err
    labels = job.with_label(log, "clicked", found).select(job.LABEL).collect()
    assert sorted(row[0] for row in labels) == [0.0, 1.0]


def test_a_label_that_must_be_told(job, spark):
    log = spark.createDataFrame([(1,), (2,)], "clicked int")
    with pytest.raises(ValueError, match="say which one is a click.*--positive"):
        job.find_positive(log, "clicked", None)
    assert job.find_positive(log, "clicked", "2") == "2"
