"""spark_ctr: click-through-rate models as Spark ML stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_ctr.version import __version__

if TYPE_CHECKING:
    from spark_ctr.session_builder import SessionBuilder

__all__ = ["__version__", "jar_path", "session"]


def session() -> SessionBuilder:
    """Return a builder of Spark sessions with all that spark_ctr needs.

    A ``SparkSession.builder``: ``master``, ``remote``, ``config`` and ``appName`` may follow, and
    what they say comes first. See :class:`spark_ctr.session_builder.SessionBuilder`.

    Examples
    --------
    >>> spark = spark_ctr.session().appName("clicks").getOrCreate()  # doctest: +SKIP
    """
    from spark_ctr.session_builder import SessionBuilder

    return SessionBuilder()


def jar_path() -> str:
    """Path of the bundled jar that fits the installed Spark; see :func:`spark_ctr.jvm.jar_path`."""
    from spark_ctr.jvm import jar_path as path

    return path()
