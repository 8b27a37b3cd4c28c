"""The direction of imports, what keeps spark_ctr off Spark Connect or unsafe files, one version."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from spark_ctr.version import __version__

ROOT = Path(__file__).parents[1] / "spark_ctr"

# Packages of spark_ctr that a package may import, besides itself: stages -> domain -> kernels.
DOMAIN = {
    "kernels": set(),
    "hashing": set(),
    "power_law": set(),
    "networks": {"hashing"},
    "training": {"networks"},
    "precision": {"hashing", "kernels", "networks", "training"},
}
STAGE = {"stage", "version", *DOMAIN}
ALLOWED: dict[str, set[str]] = {
    **DOMAIN,
    "version": set(),
    "jvm": {"version"},
    "session_builder": {"jvm", "version"},
    "datasets": {"jvm", "version"},
    "stage": {"jvm", *STAGE},
    "feature": {"jvm", *STAGE},
    "classification": STAGE,
    "evaluation": STAGE,
    "distillation": {"classification", *STAGE},
    "quantization": {"classification", "distillation", *STAGE},
}
SPARK = {"pyspark", "py4j"}
PICKLES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# Classic Spark only, or the JVM behind it.
CLASSIC_ONLY = {"_jvm", "_jdf", "_jsparkSession", "_jc", "_sc", "sparkContext", "rdd"}

FILES = {
    file.relative_to(ROOT).as_posix(): ast.parse(file.read_text(encoding="utf-8"))
    for file in sorted(ROOT.rglob("*.py"))
}


def package_of(file: str) -> str:
    """Package or single module right below spark_ctr; "" for its __init__."""
    top = file.split("/")[0]
    return "" if top == "__init__.py" else top.removesuffix(".py")


def files_of(*packages: str) -> list[str]:
    """Files of some packages."""
    return [file for file in FILES if package_of(file) in packages]


def imports(file: str) -> Iterator[str]:
    """Absolute names of all modules that a file imports, those in functions included."""
    package = ["spark_ctr", *file.split("/")[:-1]]
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            if module == "spark_ctr":  # from spark_ctr import kernels
                yield from (f"spark_ctr.{name.name}" for name in node.names)


def libraries(file: str) -> set[str]:
    """Top-level names of all that a file imports."""
    return {name.split(".")[0] for name in imports(file)}


def attributes(file: str) -> set[str]:
    """Every name after a dot in a file, with what is before it where that is a name."""
    found = set()
    for node in ast.walk(FILES[file]):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
            if isinstance(node.value, ast.Name):
                found.add(f"{node.value.id}.{node.attr}")
    return found


def test_every_package_is_known() -> None:
    # The front door and the report may import everything.
    assert {package_of(file) for file in FILES} - {"", "report"} == set(ALLOWED)


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_go_one_way(package: str) -> None:
    wrong = {
        (file, name)
        for file in files_of(package)
        for name in imports(file)
        if name.startswith("spark_ctr.") and name.split(".")[1] not in ALLOWED[package] | {package}
    }
    assert not wrong


@pytest.mark.parametrize("package", DOMAIN)
def test_domain_needs_no_spark(package: str) -> None:
    assert not [file for file in files_of(package) if libraries(file) & SPARK]


@pytest.mark.parametrize("package", ["kernels", "power_law"])
def test_needs_no_torch(package: str) -> None:
    assert not [file for file in files_of(package) if "torch" in libraries(file)]


def test_nothing_is_pickled() -> None:
    assert not [file for file in FILES if libraries(file) & PICKLES]
    # torch.save and torch.load pickle; safetensors does not.
    assert not [file for file in FILES if attributes(file) & {"torch.save", "torch.load"}]


def test_nothing_needs_classic_spark() -> None:
    assert not [file for file in FILES if attributes(file) & CLASSIC_ONLY]


# What was written or measured by a version, and versions of other packages.
RECORDS = ("CHANGELOG.md", "constraints/", "docs/benchmarks/", "tests/persistence/format")


def test_version_stands_in_one_file() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT.parent, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    version = re.compile(rb"(?<![\w.=])" + re.escape(__version__).encode() + rb"(?!\.?\w)")
    holding = [
        name
        for name in listed.stdout.split("\0")
        if (ROOT.parent / name).is_file()
        and not name.startswith(RECORDS)
        and version.search((ROOT.parent / name).read_bytes())
    ]
    assert holding == ["spark_ctr/version.py"]
