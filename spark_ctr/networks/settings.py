"""Settings of a network: what each may be, declared beside its default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting of a network.

    Parameters
    ----------
    default : object
        JSON-able value of a setting that is not given.
    wanted : str
        What a value must be, in the words of the error.
    accepts : function of a value to bool
    convert : function of an accepted value
        Returns it in a JSON-able form of its own.
    """

    default: Any
    wanted: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any]


def integer(default: int, at_least: int) -> Setting:
    """Declare a whole number with a lower bound."""
    return Setting(default, f"an int >= {at_least}", lambda v: _is_int(v) and v >= at_least, int)


def share(default: float) -> Setting:
    """Declare a number in [0, 1)."""

    def accepts(value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1

    return Setting(default, "a float in [0, 1)", accepts, float)


def flag(default: bool) -> Setting:
    """Declare a bool."""
    return Setting(default, "a bool", lambda v: isinstance(v, bool), bool)


def choice(default: str, *others: str) -> Setting:
    """Declare one of some words."""
    words = (default, *others)
    return Setting(default, f"one of {', '.join(map(repr, words))}", lambda v: v in words, str)


def widths(default: Sequence[int]) -> Setting:
    """Declare the widths of the layers of a perceptron; may be empty."""

    def accepts(value: Any) -> bool:
        return isinstance(value, (list, tuple)) and all(_is_int(w) and w >= 1 for w in value)

    return Setting(list(default), "a list of positive ints", accepts, list)


def columns() -> Setting:
    """Declare names of categorical columns; none by default."""

    def accepts(value: Any) -> bool:
        return isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value)

    return Setting([], "a list of column names", accepts, list)


def perceptron(hidden_layers: Sequence[int], dropout: float = 0.1) -> dict[str, Setting]:
    """Declare the settings of every network with a multilayer perceptron."""
    return {
        "hidden_layers": widths(hidden_layers),
        "dropout": share(dropout),
        "batch_norm": flag(False),
        "layer_norm": flag(False),
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
    """
    unknown = sorted(set(config) - set(settings))
    if unknown:
        valid = ", ".join(sorted(settings)) or "none"
        raise ValueError(
            f"unknown config key(s) {unknown} of network '{network}'; valid keys: {valid}"
        )
    full = {}
    for key, setting in settings.items():
        value = config.get(key, setting.default)
        if not setting.accepts(value):
            raise ValueError(f"config key '{key}' must be {setting.wanted}, got {value!r}")
        full[key] = setting.convert(value)
    return full


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
