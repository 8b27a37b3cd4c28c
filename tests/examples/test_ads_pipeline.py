"""The ads job on a log that it generates: what it leaves behind, and what it says."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os

import pyarrow.parquet as pq
import pytest
from job_process import JOB

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(
        os.environ.get("SPARK_CTR_TEST_MODE") == "connect", reason="another job's test is on it"
    ),
]
SYSTEMS = ["constant rate", "teacher", "student", "quantised", "quantised, calibrated"]


@pytest.fixture(scope="module")
def ads_job(spark):
    """The job as a module, which finds what it takes from the main job beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(JOB.parent))
        yield importlib.import_module("ads_pipeline")


@pytest.fixture(scope="module")
def done(ads_job, tmp_path_factory):
    """What the job says, and its output."""
    output = tmp_path_factory.mktemp("ads")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        ads_job.main(["--rows", "4000", "--epochs", "1", "--output", str(output)])
    return said.getvalue(), output


def test_leaves_model_scores_report_and_plots(done):
    said, output = done
    report = json.loads((output / "report.json").read_text())
    assert list(report["auctions"]["above"]) == SYSTEMS
    for name in SYSTEMS[1:]:
        facts = report["models"][name]
        assert 0 < facts["auc"] < 1 and facts["log_loss"] > 0 and facts["bytes"] > 0
        assert name in said
    assert report["models"]["student"]["bytes"] > report["models"]["quantised"]["bytes"]
    for figures in report["auctions"]["above"].values():
        # None is worth more than what the true probabilities choose.
        assert figures["welfare"]["value"] < 0
    for name in ("reliability.png", "auction.png"):
        assert (output / name).read_bytes().startswith(b"\x89PNG")
    assert (output / "model" / "metadata").is_dir()


def test_scores_are_of_the_latest_rows_and_calibrated(done):
    _, output = done
    scored, log = pq.read_table(output / "scored"), pq.read_table(output / "log")
    added = [name for name in scored.column_names if name not in log.column_names]
    tasks = ("click", "conversion", "ctcvr")
    assert added == [*(f"probability_{t}" for t in tasks), "calibratedProbability"]
    assert scored.num_rows == pytest.approx(0.3 * log.num_rows, rel=0.05)
    times = log["timestamp"].to_numpy()
    assert (times >= scored["timestamp"].to_numpy().min()).sum() == scored.num_rows
    report = json.loads((output / "report.json").read_text())
    assert [slot["rows"] for slot in report["slots"]] == sorted(
        (slot["rows"] for slot in report["slots"]), reverse=True
    )
    assert sum(slot["rows"] for slot in report["slots"]) == scored.num_rows


def test_what_is_no_feature_is_left_out(done):
    said, _ = done
    roles = {words[0]: words[1:] for line in said.splitlines() if (words := line[10:].split())}
    for name in ("request_id", "bid", "slot", "conversion", "click_probability"):
        assert roles[name][:2] == ["left", "out"]
    assert roles["ad_id"][0] == "categorical"


def test_wrong_words_are_one_sentence(ads_job, log, tmp_path, capsys):
    words = ["--input", f"{log}/log.parquet", "--output", str(tmp_path)]
    with pytest.raises(ValueError, match="no column 'bid'.*--bid") as error:
        ads_job.main(words)
    assert "\n" not in str(error.value)
    with pytest.raises(SystemExit):
        ads_job.parse_arguments(["--held-out", "2"])
    assert "--held-out must lie between 0 and 1" in capsys.readouterr().err
