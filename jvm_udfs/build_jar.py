"""Build the jar of JVM functions for the PySpark of the Python that runs this script.

PySpark's own jars/ folder holds a Scala compiler, so nothing but Java is needed: no sbt, no
download. The jar goes to spark_ctr/jars/, where `spark_ctr.jar_path()` finds it. The same sources
and the same PySpark give the same bytes.

Usage: python jvm_udfs/build_jar.py [--force] [--output FOLDER]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MAIN = HERE / "src" / "main"
OUTPUT = HERE.parent / "spark_ctr" / "jars"
MANIFEST = "META-INF/MANIFEST.MF"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class BuildError(Exception):
    """The jar cannot be built; the message says why and what to do."""


def build(output: Path = OUTPUT, force: bool = False) -> tuple[Path, bool]:
    """Build the jar unless it is up to date.

    Returns
    -------
    (Path, bool)
        The jar, and whether it was built now.

    Raises
    ------
    BuildError
        When PySpark or Java is missing or too old, or the sources do not compile.
    """
    spark_jars, spark, scala = _installed_spark()
    name = f"spark-ctr_{_binary(scala)}-spark{_binary(spark)}.jar"
    jar = output / name
    manifest = (
        "Manifest-Version: 1.0\r\n"
        "Implementation-Title: spark-ctr\r\n"
        f"Spark-Version: {spark}\r\n"
        f"Scala-Version: {scala}\r\n"
        f"Source-Hash: {_source_hash()}\r\n\r\n"
    )
    if not force and _manifest_of(jar) == manifest:
        return jar, False
    java = _java(minimum=17 if int(spark.split(".")[0]) >= 4 else 8, spark=spark)
    with tempfile.TemporaryDirectory() as folder:
        _compile(java, spark_jars, Path(folder))
        output.mkdir(parents=True, exist_ok=True)
        _write_jar(jar, manifest, [Path(folder), MAIN / "resources"])
    return jar, True


def _installed_spark() -> tuple[Path, str, str]:
    """PySpark's jars folder, its Spark version and its Scala version."""
    try:
        import pyspark
    except ImportError:
        raise BuildError(
            f"PySpark is not installed in {sys.executable}: install it with `pip install pyspark`, "
            "or run this script with the Python that has it."
        ) from None
    folder = Path(pyspark.__file__).parent / "jars"
    versions = {
        part: [jar.stem.split("-")[-1] for jar in folder.glob(f"scala-{part}-*.jar")]
        for part in ("compiler", "library", "reflect")
    }
    missing = [f"scala-{part}" for part, found in versions.items() if not found]
    if missing:
        raise BuildError(
            f"{folder} has no {', '.join(missing)} jar. Install the full `pyspark` package "
            "(pyspark-client and pyspark-connect bring no compiler), or build with `sbt +package`."
        )
    return folder, pyspark.__version__, versions["library"][0]


def _binary(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _scala_sources() -> list[Path]:
    return sorted((MAIN / "scala").rglob("*.scala"))


def _source_hash() -> str:
    """Hash of every source and resource, and of this script, which decides what the jar holds."""
    digest = hashlib.sha256()
    files = sorted(p for p in MAIN.rglob("*") if p.is_file())
    for path in [*files, Path(__file__).resolve()]:
        digest.update(path.relative_to(HERE).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:40]  # a manifest line holds 72 bytes


def _manifest_of(jar: Path) -> str | None:
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.read(MANIFEST).decode()
    except (FileNotFoundError, KeyError, zipfile.BadZipFile):
        return None


def _java(minimum: int, spark: str) -> str:
    """Path of a Java that can run this Spark's compiler."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    way_out = f"Install Java {minimum} or newer and put it on PATH or point JAVA_HOME at it."
    if java is None:
        where = f"in JAVA_HOME ({home})" if home else "on PATH, and JAVA_HOME is not set"
        raise BuildError(f"There is no java {where}. {way_out}")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True)
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if answer.returncode != 0 or found is None:
        raise BuildError(f"`{java} -version` failed: {answer.stderr.strip()} {way_out}")
    if int(found.group(1)) < minimum:
        raise BuildError(f"{java} is Java {found.group(1)}, too old for Spark {spark}. {way_out}")
    return java


def _compile(java: str, spark_jars: Path, classes: Path) -> None:
    # The compiler and the sources share one class path; `-usejavacp` hands it on.
    compiler = [java, "-cp", str(spark_jars / "*"), "scala.tools.nsc.Main", "-usejavacp"]
    # Relative names: no path of this machine can reach the class files.
    sources = [str(path.relative_to(HERE)) for path in _scala_sources()]
    command = [*compiler, "-deprecation", "-d", str(classes), *sources]
    answer = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if answer.returncode != 0:
        raise BuildError(f"The Scala sources do not compile:\n{answer.stdout}{answer.stderr}")


def _write_jar(jar: Path, manifest: str, roots: list[Path]) -> None:
    entries = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for root in roots
        for path in root.rglob("*")
        if path.is_file()
    }
    # Written aside and renamed, so that a Spark that starts meanwhile never sees half a jar.
    handle, partial = tempfile.mkstemp(dir=jar.parent, suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:
            for name, content in [(MANIFEST, manifest.encode()), *sorted(entries.items())]:
                info = zipfile.ZipInfo(name, ZIP_EPOCH)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.create_system = 3  # the same bytes on every operating system
                info.external_attr = 0o644 << 16
                archive.writestr(info, content)
        os.chmod(partial, 0o644)
        os.replace(partial, jar)
    except BaseException:
        os.unlink(partial)
        raise


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--force", action="store_true", help="build even when up to date")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder of the jar")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        jar, built = build(arguments.output, arguments.force)
    except BuildError as error:
        print(f"build_jar: {error}", file=sys.stderr)
        return 1
    state = f"built in {time.monotonic() - started:.0f} s" if built else "up to date"
    print(f"{jar} ({state})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
