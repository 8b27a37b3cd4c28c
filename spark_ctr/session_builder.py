"""spark_ctr.session(): a builder of Spark sessions in which everything of spark_ctr works."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from spark_ctr.jvm import has_jvm_functions, jar_path, session_settings

logger = logging.getLogger("spark_ctr")

_JARS, _MEMORY = "spark.jars", "spark.driver.memory"
_PYTHON, _LEVEL = "spark.pyspark.python", "spark.log.level"
# Rows that a Python worker holds at once when it scores; as many as a batch of validation.
_ARROW_BATCH = ("spark.sql.execution.arrow.maxRecordsPerBatch", "8192")
# To name its line of Python in errors, Spark 4 asks the JVM several times for each column
# expression, and plans of many columns take their time.
_CALL_SITES = ("spark.python.sql.dataFrameDebugging.enabled", "false")
_MIB = 2**20
_LEAST_MIB, _MOST_MIB = 1024, 16 * 1024

_said: set[str] = set()


class SessionBuilder(SparkSession.Builder):
    """A ``SparkSession.builder`` with spark_ctr's settings where none are given.

    They are the jar of JVM functions, this Python for Spark's workers, a third of the machine's
    memory for the driver (1 to 16 GiB), the rows of an Arrow batch, and no trace of the line of
    Python that each column expression stands in. What ``config``,
    ``master``, ``remote``, ``spark-defaults.conf``, the environment or spark-submit say comes
    first. A session that is running already is returned as it is.
    """

    def getOrCreate(self) -> SparkSession:
        """Start a session, or return the one that runs."""
        running = SparkSession.getActiveSession()
        if running is not None:
            _say_what_is_too_late(running)
            return super().getOrCreate()
        given = self._given()
        if not self._is_server_elsewhere():
            os.environ.setdefault("PYSPARK_PYTHON", given.get(_PYTHON, sys.executable))
            for name, value in _start_settings(given).items():
                self.config(name, value)
        name, value = _ARROW_BATCH
        if name not in given:
            self.config(name, value)
        return super().getOrCreate()

    def _is_server_elsewhere(self) -> bool:
        """Whether the session's server runs already, with settings of its own."""
        remote = self._options.get("spark.remote", os.environ.get("SPARK_REMOTE", ""))
        return str(remote).startswith("sc:")

    def _given(self) -> dict[str, str]:
        """All settings that were made elsewhere; those of spark-submit are taken over."""
        given = _defaults_file() | {key: str(value) for key, value in self._options.items()}
        submitted = _submitted_settings()
        if submitted:
            given = given | submitted | {k: str(v) for k, v in self._options.items()}
            if _needs_own_jvm(submitted):
                # spark-submit's JVM has started without the jar and takes no other; with its
                # settings another is started, which also logs warnings only, as from a shell.
                for variable in ("PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"):
                    os.environ.pop(variable)
                for key, value in submitted.items():
                    if key not in self._options:
                        self.config(key, value)
            elif _LEVEL not in given:
                self.config(_LEVEL, "WARN")
        return given


def _start_settings(given: dict[str, str]) -> dict[str, str]:
    """Return the settings of a JVM that is about to start."""
    settings = {}
    try:
        ours = session_settings()
    except FileNotFoundError as error:
        _say(str(error))
    else:
        for name, value in ours.items():
            there = [item for item in given.get(name, "").split(",") if item]
            settings[name] = ",".join(there if value in there else [*there, value])
    if _MEMORY not in given and "SPARK_DRIVER_MEMORY" not in os.environ:
        memory = machine_memory() // _MIB // 3
        settings[_MEMORY] = f"{min(max(memory, _LEAST_MIB), _MOST_MIB)}m"
    name, value = _CALL_SITES
    if name not in given:
        settings[name] = value
    return settings


def machine_memory() -> int:
    """Bytes of memory that this machine, or the container it is, may use."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        file = Path("/sys/fs/cgroup", limit)
        if file.is_file() and file.read_text().strip().isdigit():
            sizes.append(int(file.read_text()))
    return min(sizes, default=0)


def _defaults_file() -> dict[str, str]:
    """Read the settings of Spark's configuration folder."""
    home = os.environ.get("SPARK_HOME")
    folder = os.environ.get("SPARK_CONF_DIR") or (f"{home}/conf" if home else None)
    file = Path(folder, "spark-defaults.conf") if folder else None
    if file is None or not file.is_file():
        return {}
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    pairs = (line.replace("=", " ", 1).split(None, 1) for line in lines if line[:1] not in "#")
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def _submitted_settings() -> dict[str, str]:
    """Read with what spark-submit has started this program; empty without spark-submit."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    from pyspark.java_gateway import launch_gateway

    gateway = launch_gateway()  # to the JVM that runs already
    try:
        pairs = gateway.jvm.org.apache.spark.SparkConf().getAll()
        return {pair._1(): pair._2() for pair in pairs}
    finally:
        gateway.close()


def _needs_own_jvm(submitted: dict[str, str]) -> bool:
    """Whether the jar exists, spark-submit was not given it, and the driver is this machine."""
    jars = submitted.get(_JARS, "").split(",")
    if any(Path(jar).name.startswith("spark-ctr_") for jar in jars):
        return False
    try:
        jar_path()
    except FileNotFoundError:
        return False
    if submitted.get("spark.submit.deployMode", "client") == "client":
        return True
    _say(
        "spark-submit started the driver on the cluster without spark_ctr's JVM functions; "
        f"cleaning, counting, encoding and scoring are faster with --jars {jar_path()}"
    )
    return False


def _say_what_is_too_late(running: SparkSession) -> None:
    if not has_jvm_functions(running):
        _say(
            "a Spark session is running already and is left as it is, without spark_ctr's JVM "
            "functions: cleaning, counting, encoding and scoring give the same results but are "
            "slower; stop it before spark_ctr.session() to have them"
        )


def _say(words: str) -> None:
    """Warn once a process."""
    if words not in _said:
        _said.add(words)
        logger.warning(words)
