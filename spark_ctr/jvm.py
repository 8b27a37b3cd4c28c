"""The JVM functions of spark_ctr: where their jar is, and whether a session has them."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from pyspark.sql import Column, SparkSession

JARS = Path(__file__).resolve().parent / "jars"

# Value of spark.sql.extensions that registers the functions, where Spark does not do so by itself.
EXTENSIONS = "sparkctr.SparkCtrExtensions"

# The newest function, so that an old jar does not pass, and the class that DESCRIBE FUNCTION names,
# so that another function of the name does not.
_FUNCTION, _CLASS = "ctr_pack", "sparkctr.CtrPack"

_known: WeakKeyDictionary[SparkSession, bool] = WeakKeyDictionary()
_lock = threading.Lock()
_reported: set[bool] = set()
logger = logging.getLogger("spark_ctr")


def jar_path() -> str:
    """Return the jar of JVM functions that matches the installed PySpark.

    Put it on a session's class path before the session starts, and its functions are there, on
    classic Spark and on the server of Spark Connect alike::

        SparkSession.builder.config("spark.jars", spark_ctr.jar_path()).getOrCreate()

    Spark 4 needs no more. PySpark 3.5 does not look for extensions on the class path (spark-submit
    of a JVM program does), so name them: ``.config("spark.sql.extensions", jvm.EXTENSIONS)``.

    Returns
    -------
    str
        Absolute path of ``spark-ctr_<Scala version>-spark<Spark version>.jar``.

    Raises
    ------
    FileNotFoundError
        When no jar for this PySpark's Spark version has been built.
    """
    import pyspark

    spark_version = ".".join(pyspark.__version__.split(".")[:2])
    built = sorted(JARS.glob("spark-ctr_*.jar"))
    matching = [jar for jar in built if jar.name.endswith(f"-spark{spark_version}.jar")]
    if len(matching) > 1:  # built for both Scala versions of one Spark: take the installed one's
        scala = _scala_version(Path(pyspark.__file__).parent / "jars")
        matching = [jar for jar in matching if f"_{scala}-" in jar.name]
    if not matching:
        have = ", ".join(jar.name for jar in built) or "none"
        raise FileNotFoundError(
            f"No spark_ctr jar for Spark {spark_version} in {JARS} (there: {have}). Build it with "
            "`python jvm_udfs/build_jar.py` in a checkout of spark_ctr, with the Python that runs "
            "PySpark; it needs Java but no build tool. Without the jar, spark_ctr uses Spark's "
            "built-in functions, with the same results."
        )
    return str(matching[0])


def session_settings() -> dict[str, str]:
    """Return the settings with which a session starts with the JVM functions.

    Raises
    ------
    FileNotFoundError
        As `jar_path`.
    """
    import pyspark

    settings = {"spark.jars": jar_path()}
    if int(pyspark.__version__.split(".")[0]) < 4:  # PySpark 3.5 does not look for them by itself
        settings["spark.sql.extensions"] = EXTENSIONS
    return settings


def has_jvm_functions(spark: SparkSession) -> bool:
    """Say whether a session can call the JVM functions, such as ``ctr_pack``.

    Parameters
    ----------
    spark : SparkSession
        A classic or a Spark Connect session; only SQL is used.

    Returns
    -------
    bool
        True when ``ctr_pack`` is spark_ctr's own function in this session.
    """
    from pyspark.errors import AnalysisException

    try:
        # Spark logs several kilobytes of error about a function that is described but missing.
        if not spark.catalog.functionExists(_FUNCTION):
            return False
        rows = spark.sql(f"DESCRIBE FUNCTION {_FUNCTION}").collect()
    except AnalysisException:
        return False
    return any(row[0].split("Class: ")[-1].strip() == _CLASS for row in rows)


def use_jvm_functions(spark: SparkSession) -> bool:
    """Return `has_jvm_functions`, asked once a session; which way is taken is said once."""
    with _lock:
        if spark not in _known:
            _known[spark] = has_jvm_functions(spark)
        found = _known[spark]
        if found in _reported:
            return found
        _reported.add(found)
    if found:
        logger.info("spark_ctr cleans, counts, encodes and scores with its JVM functions")
    else:
        logger.warning(
            "this Spark session has no JVM functions of spark_ctr: cleaning, counting, encoding "
            "and scoring take Spark's built-in functions, with the same results but slower; %s",
            way_to_jvm_functions(),
        )
    return found


def vector_of_two(spark: SparkSession, x: Column, y: Column) -> Column:
    """Return the dense vector of two numbers, by the JVM where the session has its functions."""
    from pyspark.ml.functions import array_to_vector
    from pyspark.sql import functions as F

    if use_jvm_functions(spark):
        return F.call_function("ctr_vector", x, y)
    return array_to_vector(F.array(x, y))


def way_to_jvm_functions() -> str:
    """Say how a session comes by the JVM functions."""
    try:
        jar = jar_path()
    except FileNotFoundError as error:
        return str(error)
    return f"start the session by spark_ctr.session(), or its server with --jars {jar}"


def _scala_version(spark_jars: Path) -> str | None:
    """Binary version, such as 2.13, of the Scala library among a Spark's jars."""
    for jar in spark_jars.glob("scala-library-*.jar"):
        return ".".join(jar.stem.split("-")[-1].split(".")[:2])
    return None
