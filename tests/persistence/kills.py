"""Kill processes with SIGKILL while they overwrite a pipeline; a whole one is there each time.

Usage: PYTHONPATH=$PWD python tests/persistence/kills.py --kills 20
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from disk_files import without_spark
from pyspark.ml import PipelineModel
from saved_models import saved_models

import spark_ctr


def versions() -> list[PipelineModel]:
    """Return two pipelines of equal uids, every stage of which differs."""
    models = saved_models()
    first = PipelineModel([models["cleaner"], models["encoder"], models["classifier"]])
    second = first.copy()
    for stage in second.stages:
        stage._set(handleInvalid="skip")
    return [first, second]


def overwrite(path: str) -> None:
    """Overwrite for ever, with one and the other in turn."""
    with without_spark():
        models = versions()
    # A session starts with the first save, and its first jobs are slow.
    spark_ctr.save(models[1], path, overwrite=True)
    print("ready", flush=True)
    while True:
        for model in models:
            spark_ctr.save(model, path, overwrite=True)


def kept(path: str) -> str:
    """Load and tell which one is there, or what is wrong."""
    with without_spark():
        loaded: Any = spark_ctr.load(path)
    policies = {stage.getHandleInvalid() == "skip" for stage in loaded.stages}
    if len(policies) > 1 or len(loaded.stages) != 3:
        return "mixed"
    return "second" if policies.pop() else "first"


def killed(path: str, after: float) -> str:
    """Kill a process, with its JVM, so many seconds after it began to overwrite."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--overwrite", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline().strip() == "ready"
        time.sleep(after)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    return kept(path)


def main() -> None:
    """Print after how many seconds each process was killed, and what was there then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0, help="latest moment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--overwrite", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.overwrite:
        overwrite(given.overwrite)
    draw = random.Random(given.seed)
    found: Counter = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        path = str(Path(scratch, "model"))
        with without_spark():
            spark_ctr.save(versions()[0], path)
        for _ in range(given.kills):
            after = draw.uniform(0, given.seconds)
            left = killed(path, after)
            found[left] += 1
            print(f"killed after {after:.1f} s: the {left} model is there", flush=True)
    print(dict(found))


if __name__ == "__main__":
    main()
