"""spark_ctr: click-through-rate models as Spark ML stages."""

from spark_ctr.version import __version__

__all__ = ["__version__", "jar_path"]


def jar_path() -> str:
    """Path of the bundled jar that fits the installed Spark; see :func:`spark_ctr.jvm.jar_path`."""
    from spark_ctr.jvm import jar_path as path

    return path()
