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
DOMAIN: dict[str, set[str]] = {
    "kernels": set(),
    "settings": set(),
    "tables": set(),
    "location": set(),
    "hashing": {"tables"},
    "power_law": set(),
    "calibration_curves": set(),
    "safetensors_header": set(),
    "runtime": {"kernels", "safetensors_header", "tables"},
    "networks": {"safetensors_header", "settings", "tables"},
    "training": {"location", "networks", "settings", "tables"},
    "precision": {"kernels", "networks", "runtime", "settings", "tables", "training"},
}
KIT = {"stage", "version", *DOMAIN}
TRAINED = {"estimator", "rows", *KIT}
ALLOWED: dict[str, set[str]] = {
    **DOMAIN,
    "version": set(),
    "jvm": {"version"},
    "session_builder": {"jvm", "version"},
    "datasets": {"jvm", "version"},
    "stage": {"networks", "settings", "version"},
    "rows": {"jvm", *KIT} - {"precision", "runtime"},
    "feature": {"jvm", *KIT},
    "estimator": {"rows", *KIT},
    "auction": KIT,
    "evaluation": KIT,
    "calibration": {"jvm", "rows", *KIT},
    "classification": TRAINED,
    "distillation": {"classification", *TRAINED},
    "multitask": TRAINED,
    "quantization": {"classification", "distillation", *TRAINED},
}
# Packages that must load without torch, and without Spark, whatever they import.
WITHOUT_TORCH = (
    "kernels",
    "settings",
    "tables",
    "location",
    "hashing",
    "power_law",
    "calibration_curves",
    "runtime",
    "safetensors_header",
)
WITHOUT_SPARK = tuple(DOMAIN)
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


def modules_behind(file: str) -> set[str]:
    """Top-level names of all that importing a file imports, through spark_ctr's own modules too."""
    found: set[str] = set()
    open_files, seen = [file], {file}
    while open_files:
        for name in imports(open_files.pop()):
            found.add(name.split(".")[0])
            for own in own_files(name) - seen:
                seen.add(own)
                open_files.append(own)
    return found


def own_files(module: str) -> set[str]:
    """Files that Python runs to import a module of spark_ctr: its own and those of its packages."""
    parts = module.split(".")[1:] if module.startswith("spark_ctr.") else []
    files = {f"{'/'.join(parts[:n])}/__init__.py" for n in range(1, len(parts) + 1)}
    return {*FILES} & (files | {f"{'/'.join(parts)}.py"})


@pytest.mark.parametrize("package", WITHOUT_SPARK)
def test_loads_without_spark(package: str) -> None:
    assert not [file for file in files_of(package) if modules_behind(file) & SPARK]


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_loads_without_torch(package: str) -> None:
    assert not [file for file in files_of(package) if "torch" in modules_behind(file)]


def test_scoring_loads_without_torch_and_spark() -> None:
    # What a Spark worker imports to score; the network's own loader comes on top.
    assert not modules_behind("rows/scored_batches.py") & {"torch", *SPARK}


def test_nothing_is_pickled() -> None:
    assert not [file for file in FILES if libraries(file) & PICKLES]
    # torch.save and torch.load pickle; safetensors does not.
    assert not [file for file in FILES if attributes(file) & {"torch.save", "torch.load"}]


def test_nothing_needs_classic_spark() -> None:
    assert not [file for file in FILES if attributes(file) & CLASSIC_ONLY]


# What was written or measured by a version, and versions of other packages.
RECORDS = ("CHANGELOG.md", "constraints/", "docs/benchmarks/", "tests/persistence/saved/")


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
