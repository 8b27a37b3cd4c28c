"""The main job as a user runs it: a process of its own, on logs it has never seen."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "examples" / "ctr_pipeline.py"
MODELS = ("teacher", "student", "quantised")
COLUMNS = ["rawPrediction", "probability", "prediction"]

pytestmark = pytest.mark.skipif(
    os.environ.get("SPARK_CTR_TEST_MODE") == "connect",
    reason="the job starts sessions of its own; one of its tests is on Connect",
)


def run(
    *words: object, launcher: tuple[str, ...] = (sys.executable,), **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*launcher, str(JOB), *map(str, words)],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@pytest.fixture(scope="module")
def job(spark):
    """The job as a module; its ``main`` finds the session of the tests."""
    spec = importlib.util.spec_from_file_location("ctr_pipeline", JOB)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def submit(*options: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("spark-submit")), *options)


def scores(output: Path, *keys: str) -> list[tuple]:
    table = pq.read_table(output / "scored").to_pylist()
    return sorted(
        (tuple(row[key] for key in keys), row["probability"]["values"][1]) for row in table
    )


@pytest.fixture(scope="module")
def log(spark, tmp_path_factory) -> Path:
    """A generated log of 3,000 rows as Parquet, CSV and JSON."""
    from spark_ctr.datasets import click_log

    folder = tmp_path_factory.mktemp("log with a blank")
    rows = click_log(spark, 3_000, seed=1).coalesce(2)
    rows.write.parquet(f"{folder}/log.parquet")
    saved = spark.read.parquet(f"{folder}/log.parquet")
    saved.write.csv(f"{folder}/log.csv", header=True)
    saved.write.json(f"{folder}/log.json")
    return folder


@pytest.fixture(scope="module")
def generated(log, tmp_path_factory):
    """The job's output on the Parquet log."""
    output = tmp_path_factory.mktemp("output")
    done = run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", output, "--row-budget", "2000"),
    )
    return done, output


def test_leaves_model_scores_and_both_reports(generated, log):
    done, output = generated
    report = json.loads((output / "report.json").read_text())
    assert (output / "report.html").read_text().count("<h2>") > 8
    for name in MODELS:
        facts = report["models"][name]
        assert 0 < facts["auc"] < 1
        assert facts["log_loss"] > 0 and facts["bytes"] > 0
        assert facts["microseconds_per_row"] > 0
        assert name in done.stdout
    sizes = [report["models"][name]["bytes"] for name in MODELS]
    assert sizes == sorted(sizes, reverse=True)
    scored = pq.read_table(output / "scored")
    assert scored.column_names == pq.read_table(log / "log.parquet").column_names + COLUMNS
    assert scored.num_rows == report["data"]["test_rows"] > 0
    assert sum(slot["rows"] for slot in report["slots"]) == scored.num_rows


def test_time_orders_the_split(generated, log):
    _, output = generated
    scored, everything = (
        pq.read_table(path)["timestamp"].to_numpy()
        for path in (output / "scored", log / "log.parquet")
    )
    assert len(scored) == pytest.approx(0.2 * len(everything), rel=0.05)
    assert (everything >= scored.min()).sum() == len(scored)


def test_columns_are_explained(generated):
    done, output = generated
    assert "conversion_probability" in done.stderr
    assert "perhaps known only afterwards" in done.stderr
    report = json.loads((output / "report.json").read_text())
    roles = {role["column"]: role["role"] for role in report["columns"]}
    assert (roles["click"], roles["timestamp"], roles["slot"]) == ("label", "time", "categorical")
    assert roles["click_probability"] == roles["request_id"] == "left out"


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


def test_a_table_of_the_catalog(job, log, spark):
    spark.read.parquet(f"{log}/log.parquet").createOrReplaceTempView("clicks_of_march")
    assert job.read(spark, "clicks_of_march", None).count() == 3_000


def test_open_bandit_warns_of_too_few_clicks(tmp_path):
    from spark_ctr.datasets import bundled_path

    done = run(
        *("--input", bundled_path("open_bandit", "impressions"), "--slot", "position"),
        *("--epochs", "1", "--output", tmp_path),
        launcher=submit("--master", "local[2]"),
    )
    wanted = "287 clicks in 60,000 rows carry too little to learn from"
    # spark-submit may write what the job says to either.
    assert f"warning: {wanted}" in done.stdout + done.stderr
    assert wanted in (tmp_path / "report.html").read_text()


def test_two_workers_give_the_same_scores(generated, log, tmp_path):
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000"),
        launcher=submit("--master", "local-cluster[2,1,1024]"),
    )
    keys = ("request_id",)
    assert scores(tmp_path, *keys) == scores(generated[1], *keys)


def test_connect_gives_the_same_scores(generated, log, tmp_path):
    import pyspark

    if pyspark.__version__.startswith("3."):
        pytest.skip("PySpark 3.5 has no spark.ml on Connect")
    run(
        *("--input", log / "log.parquet", "--slot", "slot", "--epochs", "2"),
        *("--output", tmp_path, "--row-budget", "2000"),
        SPARK_REMOTE="local[2]",
        SPARK_TESTING="1",  # a free port
    )
    assert scores(tmp_path, "request_id") == scores(generated[1], "request_id")


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
