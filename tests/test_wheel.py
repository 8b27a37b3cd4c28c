"""The wheel carries all that the package reads from its own folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from spark_ctr.kernels.native.build import LIBRARY, compiler

ROOT = Path(__file__).parents[1]
# Run in a process that finds spark_ctr in the unpacked wheel only.
USES_ITS_DATA = """
import spark_ctr
from pathlib import Path
from spark_ctr import classification, distillation, feature, quantization, report
from spark_ctr.datasets import bundled_path
for name, split in (("adult", "train"), ("adult", "test"), ("open_bandit", "items"),
                    ("open_bandit", "impressions")):
    print(bundled_path(name, split))
print(spark_ctr.jar_path())
from spark_ctr.kernels.cuda import source_folder
print(source_folder() / "binary_linear.cu")
"""


def built(folder: Path, environment: dict[str, str]) -> Path:
    """Build the wheel, without the network, from a copy: setuptools leaves files in its folder."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("spark_ctr", "gpu"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
    subprocess.run(
        [sys.executable, "-c", build],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel as this machine builds it."""
    pytest.importorskip("setuptools", minversion="77")
    return built(tmp_path_factory.mktemp("wheel"), {**os.environ})


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    """Metadata that a package index would show."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    there = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "spark_ctr").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".so") and not path.name.startswith(".")
    }
    there |= {
        f"spark_ctr/kernels/cuda/gpu/{path.name}"
        for path in (ROOT / "gpu").iterdir()
        if path.suffix in (".cu", ".h")
    }
    if compiler() is not None:
        there.add(LIBRARY.relative_to(ROOT.resolve()).as_posix())
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("spark_ctr/")}
    assert held == there


def test_wheel_is_of_its_platform_if_it_holds_the_kernels(wheel: Path) -> None:
    python, abi, platform = wheel.stem.split("-")[2:]
    assert (python, abi) == ("py3", "none")
    assert (platform == "any") is (compiler() is None)


def test_without_a_compiler_the_wheel_has_no_kernels(tmp_path: Path) -> None:
    wheel = built(tmp_path, {**os.environ, "CC": str(tmp_path / "no compiler")})
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]


def test_package_of_the_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", USES_ITS_DATA],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert len(paths) == 6
    assert all(path.is_file() and path.is_relative_to(tmp_path) for path in paths)


def test_metadata_name_licence_readme_and_extras(metadata: Message) -> None:
    assert metadata["Name"] == "spark_ctr"
    assert metadata["License-Expression"] == "Apache-2.0 AND CC-BY-4.0"
    assert "LICENSE" in metadata.get_all("License-File", [])
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(metadata.get_all("Provides-Extra", [])) == {"dev", "gpu", "petastorm", "simd"}
