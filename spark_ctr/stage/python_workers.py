"""Whether Spark's Python workers can run what a pipeline ends in, asked with one row."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_ctr.stage.session import is_connect

CHECK = "spark.sparkCtr.checkWorkers"
PACKAGES = ("numpy", "pandas", "pyarrow", "torch", "spark_ctr")

_lock = threading.Lock()
_checked: WeakSet[SparkSession] = WeakSet()
logger = logging.getLogger("spark_ctr")


def check_python_workers(spark: SparkSession) -> None:
    """Ask a worker, once a session, for its Python and its packages.

    Scoring and training in several tasks run in Python processes that Spark starts. If they take
    another Python than the driver's, a pipeline fails at its end. Versions that differ in less
    than what matters are logged as a warning.

    Raises
    ------
    RuntimeError
        When the workers cannot run spark_ctr; says why, and what mends it.
    """
    with _lock:  # fits in threads wait for one answer
        if spark in _checked or spark.conf.get(CHECK, "true") == "false":
            return
        wrong = _local_python(spark)
        if wrong is None:
            facts = worker_facts()
            try:
                probe = F.udf(facts, "string")
                row = spark.range(1, numPartitions=1).select(probe("id")).collect()[0]
            except Exception as error:  # whatever keeps a worker from starting
                wrong = _reason(error)
            else:
                wrong, differing = compare_workers(json.loads(row[0]), json.loads(facts()))
                if differing and wrong is None:
                    logger.warning("Spark's Python workers have %s", differing)
        if wrong is not None:
            raise RuntimeError(f"Spark's Python workers {wrong}. {_way_out(spark)}")
        _checked.add(spark)


def worker_facts() -> Callable[..., str]:
    """Return a function that tells, as JSON, the Python and the packages of its process.

    It is made here, so that it travels by value: a worker may not be able to import spark_ctr.
    """
    packages = PACKAGES

    def facts(_: Any = None) -> str:
        import importlib
        import json
        import sys
        from importlib import metadata, util

        found = {"python": ".".join(map(str, sys.version_info[:2])), "executable": sys.executable}
        for name in packages:
            try:
                if name == "torch" and util.find_spec(name):  # takes seconds to import
                    found[name] = metadata.version(name)
                else:
                    found[name] = str(importlib.import_module(name).__version__)
            except Exception as error:
                missing = isinstance(error, ImportError) and getattr(error, "name", "") == name
                found[name] = "" if missing else f"!{type(error).__name__}: {error}"
        return json.dumps(found)

    return facts


def compare_workers(worker: dict[str, str], driver: dict[str, str]) -> tuple[str | None, str]:
    """Compare the facts of a worker with the driver's.

    Returns
    -------
    wrong : str or None
        What keeps the worker from running spark_ctr: a Python of another minor version, a missing
        or broken package, another major version of one, another spark_ctr.
    differing : str
        Other differences of versions; empty if there are none.
    """
    where = f"run {worker['executable']} (Python {worker['python']})"
    if worker["python"] != driver["python"]:
        return f"{where}, but the driver's Python is {driver['python']}", ""
    lacking = [name for name in PACKAGES if not worker[name]]
    if lacking:
        return f"{where}, which has no {_listed(lacking)}", ""
    broken = [f"{name} ({worker[name][1:]})" for name in PACKAGES if worker[name][0] == "!"]
    if broken:
        return f"{where}, which cannot import {_listed(broken)}", ""
    other = [name for name in PACKAGES if worker[name] != driver[name]]
    words = {name: f"{name} {worker[name]} (driver: {driver[name]})" for name in other}
    unfit = [name for name in other if name == "spark_ctr" or _major(worker, driver, name)]
    if unfit:
        return f"{where}, which has {_listed([words[name] for name in unfit])}", ""
    return None, _listed(list(words.values()))


def _major(worker: dict[str, str], driver: dict[str, str], name: str) -> bool:
    return worker[name].split(".")[0] != driver[name].split(".")[0]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def _local_python(spark: SparkSession) -> str | None:
    """Say what is wrong with the workers' Python, where no worker need start to see it.

    A worker of another Python dies with a page of Java trace; on one machine that can be spared.
    """
    if is_connect(spark) or not str(spark.conf.get("spark.master", "")).startswith("local"):
        return None
    chosen = os.environ.get("PYSPARK_PYTHON", "python3")
    found = shutil.which(chosen)
    if found is None:
        return f"would run {chosen}, which is not on this machine"
    tell = "import sys; print('.'.join(map(str, sys.version_info[:2])))"
    try:
        done = subprocess.run([found, "-c", tell], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None  # the workers themselves will tell
    version, ours = done.stdout.strip(), ".".join(map(str, sys.version_info[:2]))
    if done.returncode or version == ours:
        return None
    return f"run {found} (Python {version}), but the driver's Python is {ours}"


def _reason(error: Exception) -> str:
    """Find the line of a failed task that says why."""
    text = str(error)
    told = re.search(r"\[PYTHON_VERSION_MISMATCH\][^\n]*|Cannot run program[^\n]*", text)
    errors = re.findall(r"^\w*Error: [^\n]+", text, re.MULTILINE)
    line = told[0] if told else [*errors, text.split("\n")[0]][0]
    return f"cannot run: {line.strip().rstrip('.')}"


def _way_out(spark: SparkSession) -> str:
    if is_connect(spark):
        return (
            "Set the environment variable PYSPARK_PYTHON to a Python with this client's packages "
            "where the Spark Connect server runs, before the server starts"
        )
    return (
        "Stop the session (spark.stop()) and start it by spark_ctr.session(), or set the "
        f"environment variable PYSPARK_PYTHON before it starts, here to {sys.executable}; on a "
        "cluster the executors need a Python with the driver's packages"
    )
