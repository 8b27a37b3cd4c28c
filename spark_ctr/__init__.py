"""spark_ctr: click-through-rate models as Spark ML stages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from spark_ctr.version import __version__

if TYPE_CHECKING:
    from spark_ctr.session_builder import SessionBuilder

__all__ = ["__version__", "jar_path", "load", "save", "session", "trust"]


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


def save(model: Any, path: str, overwrite: bool = False) -> None:
    """Save a stage or a whole pipeline; see :func:`spark_ctr.stage.whole_model.save`."""
    from spark_ctr.stage.whole_model import save as save_whole

    save_whole(model, path, overwrite)


def load(path: str, trustedModules: Sequence[str] = ()) -> Any:
    """Load what was saved, of any class; see :func:`spark_ctr.stage.whole_model.load`."""
    from spark_ctr.stage.whole_model import load as load_whole

    return load_whole(path, trustedModules)


def trust(*modules: str) -> AbstractContextManager[None]:
    """Trust modules that saved models name; see :func:`spark_ctr.networks.trust.trust`."""
    from spark_ctr.networks.trust import trust as trusting

    return trusting(*modules)
