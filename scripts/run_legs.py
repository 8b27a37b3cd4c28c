"""Run the tests of some legs, each in its own environment, and close with one line a run.

Usage: run_legs.py LEG [LEG ...]
Fails if a run fails. The closing lines also go to build/closing-lines.txt.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLOSING_LINES = ROOT / "build" / "closing-lines.txt"
# The same in every environment, or too slow to do again: one leg is enough.
ONCE = tuple(
    f"tests/{part}"
    for part in (
        "benchmarks",
        "examples/test_formats.py",
        "stage/test_training_workers.py",
        "test_check_tools.py",
        "test_layout.py",
        "test_wheel.py",
        "training/test_ranks.py",
    )
)
# These need no Spark, so they only depend on NumPy, pandas and torch.
WITHOUT_SPARK = tuple(
    f"tests/{part}"
    for part in ("kernels", "networks", "power_law", "precision", "report", "training")
)
# All stages of the main job and its peer take two minutes: `make test-benchmarks`.
LONG = ("tests/benchmarks/test_main_job.py",)


@dataclass(frozen=True)
class Run:
    """One call of pytest.

    Attributes
    ----------
    mode : {"classic", "connect"}
        Kind of Spark session of the tests.
    paths, ignored : tuple of str
        Tests to run, and those of them to leave out.
    once : bool
        Whether tests marked "once" run here.
    """

    mode: str
    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    once: bool = False


# Params are the same objects on Connect.
CONNECT = Run("connect", ("tests/contract",), ("tests/contract/test_stage_params.py",))
# What Connect does with plans differs between versions; what rows are invalid does not.
CONNECT_PLANS = Run(
    "connect",
    tuple(
        f"tests/contract/test_stage_{part}.py"
        for part in ("determinism", "persistence", "pipelines", "streaming")
    ),
)
LEGS = {
    "default": (Run("classic", ("tests",), LONG, once=True), CONNECT),
    "newest": (Run("classic", ("tests",), ONCE), CONNECT_PLANS),
    # Its NumPy, pandas and torch are those of the default leg.
    "spark35": (Run("classic", ("tests",), ONCE + WITHOUT_SPARK),),
}
CANNOT = {
    "newest": "newest leg: no Petastorm, which needs pyarrow<15 where Spark 4.3 needs more",
    "spark35": "spark35 leg: classic Spark only, as Spark Connect has pyspark.ml from 4.0 on",
}


def pytest_run(leg: str, run: Run) -> tuple[bool, str]:
    """Run pytest, pass its output on, and return whether it passed and its closing line."""
    command = [str(ROOT / ".venvs" / leg / "bin" / "python"), "-m", "pytest", "-q", "-rs"]
    # A file stays with one worker, so that its fixtures are made once.
    command += ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    command += ["--durations", "10", "-p", "no:cacheprovider"]
    command += [f"--ignore={path}" for path in run.ignored] + list(run.paths)
    command += [] if run.once else ["-m", "not once"]
    environment = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        SPARK_CTR_TEST_MODE=run.mode,
        OMP_NUM_THREADS="1",  # two workers share two cores
    )
    last = "pytest printed nothing"
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return process.returncode == 0, last.strip("= ")


def main(legs: list[str]) -> int:
    """Run the legs one after the other; return the exit status."""
    unknown = [leg for leg in legs if leg not in LEGS]
    if unknown or not legs:
        print(f"choose from the legs {', '.join(LEGS)}, not {unknown}", file=sys.stderr)
        return 2
    closing, passed = [], True
    for leg in legs:
        for run in LEGS[leg]:
            print(f"\n== {leg} leg, {run.mode} Spark: {' '.join(run.paths)}", flush=True)
            start = time.monotonic()
            good, last = pytest_run(leg, run)
            passed &= good
            minutes = (time.monotonic() - start) / 60
            state = "ok" if good else "FAILED"
            closing.append(f"{state:6} {leg:8} {run.mode:8} {minutes:4.1f} min: {last}")
        if leg in CANNOT:
            closing.append(CANNOT[leg])
    text = "\n".join(closing)
    CLOSING_LINES.parent.mkdir(exist_ok=True)
    CLOSING_LINES.write_text(text + "\n")
    print(f"\n{text}", flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
