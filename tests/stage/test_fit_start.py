"""What a fit begins with: a running session, usable workers, and words on what is done."""

from __future__ import annotations

import io
import json
import re
import sys
import threading

import pytest

from spark_ctr.stage import python_workers
from spark_ctr.stage.fit_progress import counted, fold_of, grid_point, labelled, working
from spark_ctr.stage.python_workers import check_python_workers, compare_workers, worker_facts


@pytest.fixture
def driver() -> dict[str, str]:
    return json.loads(worker_facts()())


def test_a_worker_like_the_driver_is_right(driver):
    assert driver["executable"] == sys.executable
    assert compare_workers(driver, driver) == (None, "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": "3.9"}, "Python 3.9.*but the driver's Python is"),
        ({"pandas": ""}, "which has no pandas$"),
        ({"pandas": "", "pyarrow": "", "torch": ""}, "which has no pandas, pyarrow and torch$"),
        ({"torch": "!OSError: libc"}, r"cannot import torch \(OSError: libc\)$"),
        ({"numpy": "0.9"}, r"which has numpy 0\.9 \(driver: "),
        ({"spark_ctr": "0.0.0"}, r"which has spark_ctr 0\.0\.0 \(driver: "),
    ],
)
def test_what_keeps_a_worker_from_scoring(driver, change, said):
    wrong, _ = compare_workers(driver | change, driver)
    assert wrong is not None
    assert re.search(said, wrong), wrong


def test_small_differences_are_told(driver):
    other = driver["pandas"].split(".")[0] + ".99"
    wrong, differing = compare_workers(driver | {"pandas": other}, driver)
    assert wrong is None
    assert differing == f"pandas {other} (driver: {driver['pandas']})"


def test_a_session_is_asked_once(spark, monkeypatch):
    check_python_workers(spark)

    def asked_again():
        raise AssertionError

    monkeypatch.setattr(python_workers, "worker_facts", asked_again)
    threads = [threading.Thread(target=check_python_workers, args=(spark,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spark in python_workers._checked


def test_unfit_workers_are_refused_before_a_fit(spark, monkeypatch):
    from spark_ctr.feature import ClickLogCleaner

    def lacking():
        facts = json.loads(worker_facts()())
        return lambda _=None: json.dumps(facts | {"pandas": ""})

    monkeypatch.setattr(python_workers, "_checked", set())
    monkeypatch.setattr(python_workers, "worker_facts", lacking)
    log = spark.createDataFrame([("a",)], "site string")
    with pytest.raises(RuntimeError, match="which has no pandas.*PYSPARK_PYTHON") as error:
        ClickLogCleaner(categoricalCols=["site"]).fit(log)
    assert "\n" not in str(error.value)
    spark.conf.set(python_workers.CHECK, "false")
    try:
        ClickLogCleaner(categoricalCols=["site"]).fit(log)
    finally:
        spark.conf.unset(python_workers.CHECK)


def test_a_python_that_is_not_there_starts_no_job(spark, monkeypatch):
    if ".connect." in type(spark).__module__:
        pytest.skip("the server's Python is the server's")
    monkeypatch.setattr(python_workers, "_checked", set())
    monkeypatch.setenv("PYSPARK_PYTHON", "python0.9")
    with pytest.raises(RuntimeError, match=r"python0\.9, which is not on this machine"):
        check_python_workers(spark)


def test_the_reason_of_a_failed_task():
    trace = "Job aborted: \nTraceback\nModuleNotFoundError: No module named 'x'\n\tat org"
    assert python_workers._reason(ValueError(trace)).endswith("No module named 'x'")
    gone = 'java.io.IOException: Cannot run program "/py": error=2\n\tat org'
    assert (
        python_workers._reason(ValueError(gone)) == 'cannot run: Cannot run program "/py": error=2'
    )


def test_lines_while_a_stage_works(capsys):
    stream = io.StringIO()
    with labelled("fold 2, a=1"), working("cleaning", True, stream, 0.02) as result:
        threading.Event().wait(0.3)
        result("7 rows")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "fold 2, a=1, cleaning: begins"
    assert lines[1].endswith("s so far")
    assert lines[-1].startswith("fold 2, a=1, cleaning: done in 0.")
    assert lines[-1].endswith("s, 7 rows")
    with pytest.raises(KeyError), working("failing", True, stream):
        raise KeyError
    assert "failing: failed after" in stream.getvalue()
    with working("silent", False):
        pass
    assert capsys.readouterr().err == ""


def test_the_fold_is_counted_and_the_last_fit_is_none():
    inside = ["site", "CrossValidator_0123abcd_rand"]
    for fold in (1, 2):
        for point in ("a=1", "a=2"):
            assert fold_of("stage", point, inside) == f"fold {fold}"
    assert fold_of("stage", "a=2", ["site"]) == ""
    assert fold_of("stage", "a=1", inside) == "fold 1"
    assert fold_of("stage", "a=1", ["site"]) == ""


def test_a_grid_point_in_words():
    from spark_ctr.feature import HashedEmbeddingEncoder

    encoder = HashedEmbeddingEncoder()
    copied = encoder.copy({encoder.numBuckets: 3, encoder.minCount: 2})
    assert copied._grid_point == "minCount=2, numBuckets=3"
    assert grid_point(None) == encoder._grid_point == ""


def test_counts_of_things():
    assert [counted(n, "row") for n in (0, 1, 1000)] == ["0 rows", "1 row", "1,000 rows"]


def test_a_stopped_session_is_named(spark, monkeypatch):
    from spark_ctr.feature import ClickLogCleaner
    from spark_ctr.stage import session

    log = spark.createDataFrame([("a",)], "site string")
    model = ClickLogCleaner(categoricalCols=["site"], verbose=False).fit(log)

    def stopped(_):  # what Spark does without a session
        raise AssertionError

    monkeypatch.setattr(session.F, "lit", stopped)
    for use in (ClickLogCleaner(categoricalCols=["site"]).fit, model.transform):
        with pytest.raises(RuntimeError, match="session of this dataset is stopped: start one"):
            use(log)
