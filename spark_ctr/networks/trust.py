"""Which modules a saved model may have imported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_trusted: ContextVar[frozenset[str]] = ContextVar("trusted", default=frozenset())


class UntrustedModuleError(ValueError):
    """A saved model names a module that the caller does not trust."""


@contextmanager
def trust(*modules: str) -> Iterator[None]:
    """Let models that are loaded in this block import some modules, and so run their code.

    A saved network of one's own holds the import path of its module. Without this, and without
    ``trustedModules`` of a reader, loading it is refused before anything is imported.

    Parameters
    ----------
    *modules : str
        Names of modules or packages; a package stands for all below it.

    Examples
    --------
    >>> with spark_ctr.trust("clicks.networks"):              # doctest: +SKIP
    ...     model = PipelineModel.load("models/clicks")

    Raises
    ------
    TypeError
        If a name is not a string.
    """
    odd = [name for name in modules if not isinstance(name, str)]
    if odd:
        raise TypeError(f"modules to trust are named by strings, got {odd}")
    before = _trusted.set(_trusted.get() | frozenset(modules))
    try:
        yield
    finally:
        _trusted.reset(before)


def check_trusted(import_path: str) -> None:
    """Refuse what a saved model names by import path unless its module is trusted.

    Parameters
    ----------
    import_path : str
        "package.module:Class".

    Raises
    ------
    UntrustedModuleError
    """
    module = import_path.partition(":")[0]
    parts = module.split(".")
    if not any(".".join(parts[: i + 1]) in _trusted.get() for i in range(len(parts))):
        raise UntrustedModuleError(
            f"'{import_path}' is a module of somebody's own, and loading it would run its code: if "
            f"you trust it, load with trustedModules=['{module}'] or within "
            f"spark_ctr.trust('{module}')"
        )
