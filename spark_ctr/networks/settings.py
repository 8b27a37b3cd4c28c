"""Settings of a network: what `Network.settings` is made of, and how a config is completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spark_ctr.settings import Setting, choice, columns, flag, integer, number, share, widths

__all__ = [
    "MEMBERS",
    "Setting",
    "choice",
    "columns",
    "complete",
    "flag",
    "integer",
    "number",
    "perceptron",
    "share",
    "widths",
]

MEMBERS = integer(
    1,
    at_least=1,
    at_most=64,
    doc="networks of this kind, trained side by side from different weights; the score is the mean "
    "of their logits: for a teacher, since scoring takes as many times as long",
)


def perceptron(
    hidden_layers: Sequence[int], dropout: float = 0.1, batch_norm: bool = False
) -> dict[str, Setting]:
    """Declare the settings of every network with a multilayer perceptron."""
    return {
        "hidden_layers": widths(hidden_layers, doc="widths of the hidden layers"),
        "dropout": share(dropout, doc="share of hidden units left out in each step"),
        "batch_norm": flag(batch_norm, doc="batch normalisation of hidden layers"),
        "layer_norm": flag(False, doc="layer normalisation of hidden layers"),
    }


def complete(
    network: str, settings: Mapping[str, Setting], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Check the settings given and add the defaults of the others.

    Parameters
    ----------
    network : str
        Name for the errors.
    settings : mapping of str to Setting
        What the network declares.
    config : mapping of str to object

    Returns
    -------
    dict
        A value for each of `settings`, JSON-able and shared with nobody.

    Raises
    ------
    ValueError
        For an unknown key, whose error lists the valid ones, or a value that is not allowed.
    TypeError
        For a value of another kind.
    """
    unknown = sorted(set(config) - set(settings))
    if unknown:
        valid = ", ".join(sorted(settings)) or "none"
        raise ValueError(
            f"unknown config key(s) {unknown} of network '{network}'; valid keys: {valid}"
        )
    return {
        key: setting.value(f"config key '{key}'", config.get(key, setting.default))
        for key, setting in settings.items()
    }
