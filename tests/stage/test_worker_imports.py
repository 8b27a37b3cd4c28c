"""Workers do not read Spark's own archives again for every task."""

import sys
import zipfile
import zipimport

import pytest

from spark_ctr.rows.worker_imports import forget_spark_archives

SPARKS = ["pyspark.zip", "py4j-0.10.9.9-src.zip", "spark-core_2.13-4.0.5.jar"]


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """Archives of Spark and one of a user, each with a package that was imported."""
    monkeypatch.setattr(sys, "path_importer_cache", dict(sys.path_importer_cache))
    found = {}
    for i, name in enumerate([*SPARKS, "user.zip"]):
        found[name] = str(tmp_path / name)
        with zipfile.ZipFile(found[name], "w") as archive:
            archive.writestr(f"forgotten{i}/__init__.py", "")
            archive.writestr(f"forgotten{i}/inner.py", f"VALUE = {i}")
        monkeypatch.syspath_prepend(found[name])
        __import__(f"forgotten{i}")
    yield found
    for name in [name for name in sys.modules if name.startswith("forgotten")]:
        del sys.modules[name]


def finders_of(archive):
    cached = sys.path_importer_cache.values()
    return [f for f in cached if isinstance(f, zipimport.zipimporter) and f.archive == archive]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="finders read when they are needed there")
def test_finders_of_sparks_archives_go_and_come_back(archives):
    assert all(finders_of(archive) for archive in archives.values())
    forget_spark_archives()
    assert [name for name in archives if finders_of(archives[name])] == ["user.zip"]
    inner = __import__("forgotten0.inner", fromlist=["VALUE"])
    assert inner.VALUE == 0 and inner.__file__.startswith(archives["pyspark.zip"])
    assert finders_of(archives["pyspark.zip"])
    forget_spark_archives()
    assert not finders_of(archives["pyspark.zip"])
