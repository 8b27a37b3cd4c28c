"""Settings of spark_ctr.session() for a session that is about to start."""

from __future__ import annotations

import pytest

from spark_ctr import session_builder
from spark_ctr.session_builder import SessionBuilder, _defaults_file, _start_settings


@pytest.fixture(autouse=True)
def jar(monkeypatch):
    monkeypatch.setattr(session_builder, "session_settings", lambda: {"spark.jars": "/ours.jar"})
    monkeypatch.delenv("SPARK_DRIVER_MEMORY", raising=False)
    monkeypatch.delenv("SPARK_CONF_DIR", raising=False)


@pytest.mark.parametrize(
    ("total", "expected"), [(2**31, "1024m"), (24 * 2**30, "8192m"), (2**40, "16384m")]
)
def test_a_third_of_the_memory(monkeypatch, total, expected):
    monkeypatch.setattr(session_builder, "machine_memory", lambda: total)
    assert _start_settings({})["spark.driver.memory"] == expected


def test_what_is_given_comes_first(monkeypatch):
    assert "spark.driver.memory" not in _start_settings({"spark.driver.memory": "3g"})
    traced = "spark.python.sql.dataFrameDebugging.enabled"
    assert traced in _start_settings({}) and traced not in _start_settings({traced: "true"})
    monkeypatch.setenv("SPARK_DRIVER_MEMORY", "3g")
    assert "spark.driver.memory" not in _start_settings({})


def test_other_jars_stay():
    assert _start_settings({"spark.jars": "/theirs.jar"})["spark.jars"] == "/theirs.jar,/ours.jar"
    assert _start_settings({"spark.jars": "/ours.jar"})["spark.jars"] == "/ours.jar"


def test_a_missing_jar_is_said_once(monkeypatch, caplog):
    def missing():
        raise FileNotFoundError("No spark_ctr jar for this Spark")

    monkeypatch.setattr(session_builder, "session_settings", missing)
    monkeypatch.setattr(session_builder, "_said", set())
    assert "spark.jars" not in _start_settings({}) | _start_settings({})
    assert [record.getMessage() for record in caplog.records] == ["No spark_ctr jar for this Spark"]


def test_the_defaults_file_is_read(monkeypatch, tmp_path):
    text = "# memory\n\nspark.driver.memory  2g\nspark.jars=/a.jar\n"
    (tmp_path / "spark-defaults.conf").write_text(text)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    assert _defaults_file() == {"spark.driver.memory": "2g", "spark.jars": "/a.jar"}


def test_a_server_elsewhere_keeps_its_settings(monkeypatch):
    monkeypatch.delenv("SPARK_REMOTE", raising=False)
    assert SessionBuilder().remote("sc://host:15002")._is_server_elsewhere()
    assert not SessionBuilder().master("local[2]")._is_server_elsewhere()
