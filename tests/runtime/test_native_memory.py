"""Native kernels under AddressSanitizer and UndefinedBehaviorSanitizer."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from spark_ctr.kernels.native.build import build, compiler

HERE = Path(__file__).parent
WATCHED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Library that watches its memory, and the run-time libraries to load before it."""
    if compiler() is None:
        pytest.skip("there is no C compiler")
    target = tmp_path_factory.mktemp("watched") / "watched.so"
    try:
        build(target, extra=WATCHED)
    except RuntimeError as error:
        pytest.skip(f"the compiler has no sanitizers: {str(error)[-200:]}")
    needed = subprocess.run(["ldd", str(target)], capture_output=True, text=True, check=True)
    found = re.findall(r"(\S*lib(?:asan|ubsan)\S*) => (\S+)", needed.stdout)
    if not found:
        pytest.skip("the sanitizers' libraries are not shared ones")
    return target, ":".join(path for _, path in found)


def run(watched, programs, changes):
    target, libraries = watched
    script = str(HERE / "sanitised_programs.py")
    return subprocess.run(
        [sys.executable, script, str(target), str(programs), str(changes)],
        env={
            **os.environ,
            "LD_PRELOAD": libraries,
            # Python keeps what it has until its end; NumPy's arrays are watched too.
            "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1",
            "PYTHONMALLOC": "malloc",
            "PYTHONPATH": os.pathsep.join([*map(str, (HERE, HERE.parents[1]))]),
        },
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def check(done, programs):
    assert done.returncode == 0, done.stderr[-3000:]
    assert "runtime error" not in done.stderr
    ran = re.fullmatch(r"(\d+) programs, \d+ changed, (\d+) of them ran\n", done.stdout)
    assert ran and int(ran[1]) == programs and int(ran[2]) > 0


def test_programs_stay_within_their_memory(watched):
    check(run(watched, 40, 1500), 40)


@pytest.mark.full
def test_many_programs_stay_within_their_memory(watched):
    check(run(watched, 200, 10_000), 200)
