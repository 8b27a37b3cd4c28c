"""The jar's builder and finder: what is in the jar, and what they say when something is missing."""

import importlib.util
import os
import zipfile
from pathlib import Path

import pytest

import spark_ctr
from spark_ctr import jvm

SCRIPT = Path(__file__).resolve().parents[2] / "jvm_udfs" / "build_jar.py"
SERVICE = "META-INF/services/org.apache.spark.sql.SparkSessionExtensionsProvider"


@pytest.fixture(scope="module")
def build_jar():
    """Return the build script as a module."""
    spec = importlib.util.spec_from_file_location("build_jar", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def jar(build_jar) -> Path:
    """Return the jar for this PySpark."""
    return build_jar.build()[0]


def test_jar_path_finds_what_was_built(jar):
    assert spark_ctr.jar_path() == str(jar)


def test_jar_registers_its_extensions(jar):
    with zipfile.ZipFile(jar) as archive:
        assert archive.read(SERVICE).decode().split() == ["sparkctr.SparkCtrExtensions"]
        names = archive.namelist()
    assert "sparkctr/SparkCtrExtensions.class" in names
    assert not any(name.startswith(("scala/", "org/")) for name in names)


def test_build_skips_what_is_up_to_date_and_repeats_to_the_byte(build_jar, jar, tmp_path):
    assert build_jar.build() == (jar, False)
    again, built = build_jar.build(tmp_path)
    assert built
    assert again.read_bytes() == jar.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == [jar.name]


def test_a_jar_of_other_sources_is_out_of_date(build_jar, jar, monkeypatch):
    monkeypatch.setattr(build_jar, "_source_hash", lambda: "0" * 40)
    monkeypatch.setattr(build_jar, "_java", lambda **_: pytest.fail("reached the compiler"))
    with pytest.raises(pytest.fail.Exception, match="reached the compiler"):
        build_jar.build()


def test_missing_java_is_a_sentence(build_jar, monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(build_jar.BuildError, match="There is no java in JAVA_HOME .*Install Java"):
        build_jar.build(tmp_path)
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build_jar.BuildError, match="There is no java on PATH.*Install Java"):
        build_jar.build(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for java is a shell script")
def test_old_java_is_a_sentence(build_jar, monkeypatch, tmp_path):
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"1.7.0_80\"' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(build_jar.BuildError, match="is Java 7, too old for Spark .* Install Java"):
        build_jar.build(tmp_path)


def test_jar_path_without_a_jar_says_how_to_build(monkeypatch, tmp_path):
    (tmp_path / "spark-ctr_2.11-spark2.4.jar").touch()
    monkeypatch.setattr(jvm, "JARS", tmp_path)
    with pytest.raises(FileNotFoundError, match="spark2.4.jar.*python jvm_udfs/build_jar.py"):
        jvm.jar_path()


def test_jar_path_takes_the_installed_scala_of_two(jar, monkeypatch, tmp_path):
    for scala in ("2.12", "2.13", "3.3"):
        (tmp_path / f"spark-ctr_{scala}-{jar.name.split('-')[-1]}").touch()
    monkeypatch.setattr(jvm, "JARS", tmp_path)
    assert Path(jvm.jar_path()).name == jar.name
