"""One Spark session for all tests: classic, or Connect with SPARK_CTR_TEST_MODE=connect."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# A busy machine is no failure: examples may take as long as they take.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
os.environ.setdefault("PYSPARK_DRIVER_PYTHON", sys.executable)
os.environ.setdefault("PYTHONHASHSEED", "0")
# Half the time: jobs this small are over before the JVM's second compiler pays, or checks of the
# classes that Spark ships; without that compiler the default code cache is too small for all tests.
os.environ.setdefault(
    "JDK_JAVA_OPTIONS",
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    " -XX:ReservedCodeCacheSize=240m -XX:MetaspaceSize=256m"
    " -XX:+UnlockDiagnosticVMOptions -XX:-BytecodeVerificationRemote",
)

CONNECT = os.environ.get("SPARK_CTR_TEST_MODE", "classic") == "connect"
if CONNECT:
    os.environ["SPARK_TESTING"] = "1"  # the local Connect server then takes a free port
SETTINGS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "America/New_York",  # nothing may depend on it
    "spark.driver.memory": "2g",
    "spark.ui.showConsoleProgress": "false",
    "spark.python.daemon.module": "tests.worker_daemon",
}
# Half the time for jobs this small; one run of scripts/run_legs.py keeps Spark's defaults.
if os.environ.get("SPARK_CTR_TEST_DEFAULTS", "0") != "1":
    SETTINGS |= {
        "spark.python.sql.dataFrameDebugging.enabled": "false",
        "spark.sql.adaptive.enabled": "false",
        "spark.sql.codegen.wholeStage": "false",
        "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    }


_PORT = "spark.connect.grpc.binding.port"


def spark_session():
    """Return the session of the mode under test."""
    import pyspark
    from pyspark.sql import SparkSession

    from spark_ctr.jvm import session_settings

    if CONNECT and pyspark.__version__ < "4":
        pytest.skip("Spark Connect has pyspark.ml from 4.0 on")
    builder = SparkSession.builder.appName("spark_ctr tests")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    if os.environ.get("SPARK_CTR_TEST_JAR", "0") == "1":
        for name, value in session_settings().items():
            builder = builder.config(name, value)
    if CONNECT:
        return builder.remote("local[2]").getOrCreate()
    return builder.config(_PORT, _free_port()).master("local[2]").getOrCreate()


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


@pytest.fixture(scope="session")
def spark() -> Iterator:
    """Spark session, shared by all tests."""
    session = spark_session()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def connect_server(spark) -> str:
    """Address of a Connect server in the JVM of the tests, which is warm."""
    import pyspark

    if CONNECT or pyspark.__version__ < "4":
        pytest.skip("classic Spark starts a Connect server from 4.0 on")
    service = spark._jvm.org.apache.spark.sql.connect.service.SparkConnectService
    service.start(spark._jsc.sc())
    return f"sc://localhost:{spark.conf.get(_PORT)}"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data beside the repository; its tests skip where it is absent."""
    default = Path(__file__).parents[2] / "shared"
    folder = Path(os.environ.get("SPARK_CTR_SHARED", default))
    if not folder.is_dir():
        pytest.skip("the reference data is not beside the repository")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={1 << 20}", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
