"""Run the tests of some legs, each in its own environment, and close with one line a run.

Usage: run_legs.py [--all] LEG [LEG ...]
Two runs go at a time, each in one process, so that its session and fixtures are made once. Fails
if a run fails. The closing lines also go to build/closing-lines.txt, the seconds of every test to
build/durations.json, and what each run prints to build/output.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
AT_A_TIME = 2
SLOWEST = 20
CLOSING = re.compile(r"\d+ (passed|failed|skipped|errors?)\b.* in [\d.]+s")
# Torch and what stands on it alone are the same in all legs.
TORCH = tuple(f"tests/{part}" for part in ("networks", "precision", "runtime", "training"))
# These need no Spark, so they only depend on NumPy, pandas and pyarrow.
WITHOUT_SPARK = tuple(
    f"tests/{part}"
    for part in ("calibration_curves", "gpu", "kernels", "power_law", "report", "tables")
)
FEEDS = tuple(f"tests/training/test_{part}.py" for part in ("feeds", "feed_resources"))
# The project's own tools, and benchmarks, which run in one environment.
TOOLS = tuple(
    f"tests/{part}"
    for part in (
        "benchmarks",
        "test_check_tools.py",
        "test_layout.py",
        "test_links.py",
        "test_wheel.py",
    )
)
CONTRACT = ("tests/contract",)


def _contract(*parts: str) -> tuple[str, ...]:
    return tuple(f"tests/contract/test_stage_{part}.py" for part in parts)


# What Connect does with plans differs between versions; what rows are invalid does not.
_PLANS = _contract("determinism", "persistence", "pipelines", "streaming", "tuning")
# Made of expressions and files of kinds that other tests have in every leg.
_OF_KINDS = (
    *("tests/datasets", "tests/jvm/test_build_jar.py", "tests/persistence"),
    *(f"tests/feature/test_{part}.py" for part in ("encoder_growth", "standardisation")),
    *(f"tests/stage/test_{part}.py" for part in ("training_data", "training_rows")),
)


@dataclass(frozen=True)
class Run:
    """One call of pytest.

    Attributes
    ----------
    leg, name : str
        The environment, and what is tested there.
    paths, ignored, spared : tuple of str
        Tests to run, those of them to leave out, and those to leave out unless all are wanted.
    mode : {"classic", "connect"}
        Kind of Spark session of the tests.
    once : bool
        Whether tests marked "once" run here.
    jar : bool
        Whether the session of the tests has the JVM functions.
    defaults : bool
        Whether Spark keeps its defaults, code generation among them, which few rows do not repay;
        one run does, and so do the sessions that tests start in processes of their own.
    """

    leg: str
    name: str
    paths: tuple[str, ...]
    ignored: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    mode: str = "classic"
    once: bool = False
    jar: bool = False
    defaults: bool = False


_APART = (*CONTRACT, *TORCH, *WITHOUT_SPARK)
# All stages of the main job and its peer take two minutes, see `make test-benchmarks` too.
_LONG = ("tests/benchmarks/test_main_job.py",)
# The longest first, so that none is left for last.
RUNS = (
    Run("default", "all but the contract", ("tests",), _APART, _LONG, once=True),
    Run("default", "contract", CONTRACT, once=True),
    # Its NumPy, pandas and torch, and what they make of invalid rows, are the default leg's.
    Run(
        leg="spark35",
        name="classic",
        paths=("tests",),
        ignored=(*TORCH, *WITHOUT_SPARK, *TOOLS),
        spared=(
            *_OF_KINDS,
            *_contract("determinism", "invalid_rows", "params", "pipelines", "tuning"),
        ),
    ),
    Run(
        leg="newest",
        name="classic",
        paths=("tests",),
        ignored=TOOLS,
        # What CUDA sources compute is the same with every NumPy.
        spared=(*TORCH, *CONTRACT, *_OF_KINDS, "tests/gpu"),
        jar=True,
    ),
    Run(
        leg="newest",
        name="connect",
        paths=CONTRACT,
        spared=_contract("invalid_rows", "params", "schema"),
        mode="connect",
        defaults=True,
    ),
    Run(
        leg="default",
        name="connect",
        paths=(*CONTRACT, "tests/jvm/test_functions.py"),
        spared=(*_PLANS, *_contract("params")),
        mode="connect",
        jar=True,
    ),
    Run("default", "without Spark", (*TORCH, *WITHOUT_SPARK), once=True),
    Run("newest", "feeds", FEEDS),
)
LEGS = tuple(dict.fromkeys(run.leg for run in RUNS))
CANNOT = {
    "newest": "newest leg: no Petastorm, which needs pyarrow<15 where Spark 4.3 needs more",
    "spark35": "spark35 leg: classic Spark only, as Spark Connect has pyspark.ml from 4.0 on",
}


@dataclass(frozen=True)
class Outcome:
    """What became of a run: whether it passed, its minutes, its closing line, its tests' seconds.

    Attributes
    ----------
    passed : bool
    minutes : float
    last : str
    seconds : dict of test -> float
        Set-up included: the first test that needs a fixture pays for it.
    """

    passed: bool
    minutes: float
    last: str
    seconds: dict[str, float]


def pytest_run(run: Run, everything: bool) -> Outcome:
    """Run pytest and print its output when it ends, so that two runs do not mix."""
    name = f"{run.leg}-{run.name}".replace(" ", "-")
    output, durations = BUILD / "output" / f"{name}.txt", BUILD / "output" / f"{name}.xml"
    durations.unlink(missing_ok=True)
    command = [str(ROOT / ".venvs" / run.leg / "bin" / "python"), "-m", "pytest", "-q", "-rs"]
    command += ["-p", "no:cacheprovider", f"--junitxml={durations}", *run.paths]
    command += [f"--ignore={path}" for path in run.ignored]
    unwanted = [] if run.once else ["once"]
    if not everything:
        command += [f"--ignore={path}" for path in run.spared]
        unwanted += ["full"]
    command += ["-m", " and ".join(f"not {mark}" for mark in unwanted)] if unwanted else []
    environment = dict(
        os.environ,
        PYTHONPATH=str(ROOT),
        SPARK_CTR_TEST_MODE=run.mode,
        SPARK_CTR_TEST_JAR=str(int(run.jar)),
        SPARK_CTR_TEST_DEFAULTS=str(int(run.defaults)),
        OMP_NUM_THREADS="1",  # two runs share two cores
    )
    start = time.monotonic()
    with output.open("w") as file:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False
        )
    minutes = (time.monotonic() - start) / 60
    text = output.read_text(errors="replace")
    print(f"\n== {run.leg} leg, {run.name}, {run.mode} Spark\n{text}", flush=True)
    # A JVM that ends may print behind pytest's own last line.
    lines = [line for line in text.splitlines() if line.strip()] or ["pytest printed nothing"]
    last = next((line for line in reversed(lines) if CLOSING.search(line)), lines[-1])
    return Outcome(done.returncode == 0, minutes, last.strip("= "), seconds_of(durations))


def seconds_of(path: Path) -> dict[str, float]:
    """Seconds of every test in pytest's JUnit file; none where pytest did not come to write it."""
    if not path.exists():
        return {}
    cases = ElementTree.parse(path).iter("testcase")
    return {f"{c.get('classname')}::{c.get('name')}": float(c.get("time", 0)) for c in cases}


def slowest(seconds: dict[str, dict[str, float]]) -> list[str]:
    """Lines of the slowest tests of all runs."""
    every = [(s, run, test) for run, tests in seconds.items() for test, s in tests.items()]
    return [f"{s:6.1f} s  {run}: {test}" for s, run, test in sorted(every, reverse=True)[:SLOWEST]]


def main(words: list[str]) -> int:
    """Run the legs, two runs at a time; return the exit status."""
    everything, legs = "--all" in words, [word for word in words if word != "--all"]
    unknown = [leg for leg in legs if leg not in LEGS]
    if unknown or not legs:
        print(f"choose from the legs {', '.join(LEGS)}, not {unknown}", file=sys.stderr)
        return 2
    runs = [run for run in RUNS if run.leg in legs]
    (BUILD / "output").mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    outcomes: dict[Run, Outcome] = {}
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        started = {pool.submit(pytest_run, run, everything): run for run in runs}
        for future in as_completed(started):
            outcomes[started[future]] = future.result()
    closing = []
    for run in runs:
        found = outcomes[run]
        state = "ok" if found.passed else "FAILED"
        closing.append(
            f"{state:6} {run.leg:8} {run.name:20} {found.minutes:4.1f} min: {found.last}"
        )
    closing += [CANNOT[leg] for leg in legs if leg in CANNOT]
    closing.append(f"{(time.monotonic() - start) / 60:.1f} min for all of them")
    seconds = {f"{run.leg}, {run.name}": outcomes[run].seconds for run in runs}
    (BUILD / "durations.json").write_text(json.dumps(seconds, indent=1) + "\n")
    (BUILD / "closing-lines.txt").write_text("\n".join(closing) + "\n")
    print("\nThe slowest tests, with the fixtures that they were the first to need:")
    print("\n".join([*slowest(seconds), "", *closing]), flush=True)
    return 0 if all(found.passed for found in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
