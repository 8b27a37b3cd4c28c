"""The main job as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
JOB = ROOT / "examples" / "ctr_pipeline.py"


def run(
    *words: object, launcher: tuple[str, ...] = (sys.executable,), **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*launcher, str(JOB), *map(str, words)],
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
        | {"SPARK_CONF_DIR": str(Path(__file__).with_name("conf"))}
        | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def submit(*options: str) -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("spark-submit")), *options)


def scores(output: Path) -> list[tuple[str, float]]:
    rows = pq.read_table(output / "scored").to_pylist()
    return sorted((row["request_id"], row["probability"]["values"][1]) for row in rows)
