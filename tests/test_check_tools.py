"""The first step of every make target: one sentence, with the way out, for what is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "check_tools.sh"
PYTHON_311 = 'case "$2" in *version_info*) echo 3.11;; esac'
JAVA_17 = "echo 'openjdk version \"17.0.15\" 2025-04-15' >&2"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Folder that is the whole PATH: a Python 3.11, a Java 17 and what the script runs."""
    for name in ("sed", "head"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    fake(tmp_path, "python3.11", PYTHON_311)
    fake(tmp_path, "java", JAVA_17)
    return tmp_path


def fake(folder: Path, name: str, body: str) -> None:
    """Write a program that is a line of shell."""
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def check(path: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and what was said."""
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), *arguments],
        env={"PATH": str(path), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_says_nothing_where_all_is_there(tools: Path) -> None:
    assert check(tools) == (0, "")


@pytest.mark.parametrize(
    ("tool", "body", "says", "way_out"),
    [
        ("python3.11", None, "there is no python3.11", "make PYTHON="),
        ("python3.11", "exit 127", "does not start", "make PYTHON="),
        ("python3.11", "echo 3.12", "is Python 3.12", "make PYTHON="),
        (
            "python3.11",
            f'{PYTHON_311}; case "$2" in *venv*) exit 1;; esac',
            "virtual environments",
            "python3.11-venv",
        ),
        ("java", None, "there is no java", "JAVA_HOME"),
        ("java", "exit 1", "fails", "JAVA_HOME"),
        ("java", "echo 'java version \"1.8.0_402\"' >&2", "is Java 8", "JAVA_HOME"),
        ("java", "echo 'openjdk version \"11.0.2\"' >&2", "is Java 11", "JAVA_HOME"),
    ],
)
def test_names_what_is_missing_in_one_sentence(
    tools: Path, tool: str, body: str | None, says: str, way_out: str
) -> None:
    (tools / tool).unlink()
    if body is not None:
        fake(tools, tool, body)
    status, said = check(tools)
    assert status == 1
    assert says in said and way_out in said
    assert said.count("\n") == 1 and said.endswith(".\n")


def test_takes_another_python(tools: Path) -> None:
    (tools / "python3.11").rename(tools / "my-python")
    assert check(tools, "my-python") == (0, "")


def test_java_home_goes_before_path(tools: Path, tmp_path: Path) -> None:
    home = tmp_path / "jdk"
    status, said = check(tools, JAVA_HOME=str(home))
    assert status == 1 and str(home) in said
    fake(home / "bin", "java", "echo 'openjdk version \"21.0.1\"' >&2")
    assert check(tools, JAVA_HOME=str(home)) == (0, "")


@pytest.mark.parametrize("version", ['openjdk version "21" 2023-09-19', 'java version "25.0.1"'])
def test_newer_java_will_do(tools: Path, version: str) -> None:
    fake(tools, "java", f"echo '{version}' >&2")
    assert check(tools) == (0, "")


def test_other_lines_of_java_do_not_matter(tools: Path) -> None:
    fake(tools, "java", f"echo 'Picked up JAVA_TOOL_OPTIONS: -Xmx1g' >&2; {JAVA_17}")
    assert check(tools) == (0, "")
