"""The main job on a log it has never seen: what it leaves behind, and what it says."""

from __future__ import annotations

import json
import os

import pyarrow.parquet as pq
import pytest
from job_process import run, scores, submit

MODELS = ("teacher", "student", "quantised")
COLUMNS = ["rawPrediction", "probability", "prediction"]

pytestmark = pytest.mark.skipif(
    os.environ.get("SPARK_CTR_TEST_MODE") == "connect",
    reason="the job starts sessions of its own; one of its tests is on Connect",
)


def test_leaves_model_scores_and_both_reports(generated, log):
    said, output = generated
    report = json.loads((output / "report.json").read_text())
    page = (output / "report.html").read_text()
    assert page.count("<h2>") > 8 and "Loss, time and size of the plans" in page
    plans = report["quantisation"]["front"]["points"]
    assert [len(plan["binary"]) for plan in plans if not plan["trained"]] == [0, 1, 2]
    assert sum(plan["chosen"] for plan in plans) == 1
    for name in MODELS:
        facts = report["models"][name]
        assert 0 < facts["auc"] < 1
        assert facts["log_loss"] > 0 and facts["bytes"] > 0
        assert facts["microseconds_per_row"] > 0
        assert name in said
    sizes = [report["models"][name]["bytes"] for name in MODELS]
    assert sizes == sorted(sizes, reverse=True)
    scored = pq.read_table(output / "scored")
    assert scored.column_names == pq.read_table(log / "log.parquet").column_names + COLUMNS
    assert scored.num_rows == report["data"]["test_rows"] > 0
    assert sum(slot["rows"] for slot in report["slots"]["slots"]) == scored.num_rows


def test_time_orders_the_split(generated, log):
    _, output = generated
    scored, everything = (
        pq.read_table(path)["timestamp"].to_numpy()
        for path in (output / "scored", log / "log.parquet")
    )
    assert len(scored) == pytest.approx(0.2 * len(everything), rel=0.05)
    assert (everything >= scored.min()).sum() == len(scored)


def test_columns_are_explained(generated):
    said, output = generated
    assert "conversion_probability" in said
    assert "perhaps known only afterwards" in said
    report = json.loads((output / "report.json").read_text())
    roles = {role["column"]: role["role"] for role in report["columns"]}
    assert (roles["click"], roles["timestamp"], roles["slot"]) == ("label", "time", "categorical")
    assert roles["click_probability"] == roles["request_id"] == "left out"


def test_a_table_of_the_catalog(job, log, spark):
    spark.read.parquet(f"{log}/log.parquet").createOrReplaceTempView("clicks_of_march")
    assert job.read(spark, "clicks_of_march", None).count() == 3_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "clik"], "no column 'clik'; its columns are request_id"),
        (["--categorical", "slot", "--numeric", "slot"], "'slot' is named as categorical and as"),
        (["--ignore", "*"], "no feature column: name some with --categorical or --numeric"),
        (["--split", "time", "--ignore", "timestamp"], "--split time needs a time column"),
    ],
)
def test_wrong_words_are_one_sentence(job, log, tmp_path, words, said):
    with pytest.raises(ValueError, match=said) as error:
        job.main(["--input", f"{log}/log.parquet", "--output", str(tmp_path), *words])
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_is_checked_first(job, capsys):
    for words in (["--test-fraction", "1.5"], ["--split", "time", "--test-input", "x"]):
        with pytest.raises(SystemExit):
            job.parse_arguments(words)
        assert words[0] in capsys.readouterr().err


@pytest.mark.once
@pytest.mark.full  # test_raw_log runs it on a worker, others train on two
def test_two_workers_give_the_same_scores(generated, log, tmp_path):
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000", "--max-bytes", 10**8),
        launcher=submit("--master", "local-cluster[2,1,1024]"),
    )
    assert scores(tmp_path) == scores(generated[1])


@pytest.mark.once
def test_connect_gives_the_same_scores(generated, log, connect_server, tmp_path):
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000", "--max-bytes", 10**8),
        SPARK_REMOTE=connect_server,
    )
    assert scores(tmp_path) == scores(generated[1])
