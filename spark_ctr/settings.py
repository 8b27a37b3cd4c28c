"""Settings of networks, training and stages: default, bounds and words, declared once."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

_Class = TypeVar("_Class", bound=type)


@dataclass(frozen=True)
class Setting:
    """One setting.

    Parameters
    ----------
    default : object
        JSON-able value where none is given. A setting whose default is None may be None.
    convert : function of a value
        Returns it in a JSON-able form of its own, or raises the TypeError or ValueError that says
        what it must be: "above 0".
    doc : str
        What the setting does.
    low, high : float, optional
        Bounds of a number. Whether they are allowed themselves, `convert` knows.
    choices : tuple of str
        The words of a choice.
    """

    default: Any
    convert: Callable[[Any], Any]
    doc: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def value(self, name: str, given: Any) -> Any:
        """Check a value and return it in a form of its own.

        Parameters
        ----------
        name : str
            Of the setting, for the errors.
        given : object

        Raises
        ------
        TypeError
            For a value of another kind.
        ValueError
            For a value that is not allowed.
        """
        if given is None and self.default is None:
            return None
        try:
            return self.convert(given)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{name} must be {error}: {given!r}") from None


def number(
    default: float | None,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    kind: type = float,
    doc: str = "",
) -> Setting:
    """Declare a finite number of a kind, float or int, with bounds."""
    bounds = [
        (bound, holds, f"{words} {bound}")
        for bound, holds, words in (
            (at_least, operator.ge, "at least"),
            (above, operator.gt, "above"),
            (at_most, operator.le, "at most"),
            (below, operator.lt, "below"),
        )
        if bound is not None
    ]

    def convert(value: Any) -> Any:
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise TypeError("a number")
        if not math.isfinite(value):
            raise ValueError("finite")
        converted = kind(value)
        if kind is int and converted != value:
            raise ValueError("a whole number")
        for bound, holds, words in bounds:
            if not holds(converted, bound):
                raise ValueError(words)
        return converted

    low = at_least if above is None else above
    return Setting(default, convert, doc, low, at_most if below is None else below)


def integer(
    default: int | None, at_least: int, at_most: int | None = None, doc: str = ""
) -> Setting:
    """Declare a whole number with bounds."""
    return number(default, at_least=at_least, at_most=at_most, kind=int, doc=doc)


def share(default: float, doc: str = "") -> Setting:
    """Declare a number in [0, 1)."""
    return number(default, at_least=0.0, below=1.0, doc=doc)


def flag(default: bool, doc: str = "") -> Setting:
    """Declare a bool."""

    def convert(value: Any) -> bool:
        if not isinstance(value, bool):
            raise TypeError("a bool")
        return value

    return Setting(default, convert, doc)


def choice(default: str, *others: str, doc: str = "") -> Setting:
    """Declare one of some words."""
    words = tuple(dict.fromkeys((default, *others)))

    def convert(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"one of {', '.join(map(repr, words))}")
        return str(value)

    return Setting(default, convert, doc, choices=words)


def widths(default: Sequence[int], doc: str = "") -> Setting:
    """Declare the widths of the layers of a perceptron; may be empty."""
    wanted, width = "a list of positive ints", integer(None, at_least=1)

    def convert(value: Any) -> list[int]:
        try:
            return [width.convert(item) for item in _items(value, wanted)]
        except ValueError:
            raise ValueError(wanted) from None
        except TypeError:
            raise TypeError(wanted) from None

    return Setting(list(default), convert, doc)


def columns(doc: str = "") -> Setting:
    """Declare names of columns; none by default."""
    wanted = "a list of column names"

    def convert(value: Any) -> list[str]:
        names = list(_items(value, wanted))
        if not all(isinstance(name, str) for name in names):
            raise TypeError(wanted)
        return names

    return Setting([], convert, doc)


def text(doc: str = "") -> Setting:
    """Declare a text, unset by default."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise TypeError("a text")
        return value

    return Setting(None, convert, doc)


def names(default: Sequence[str], doc: str = "") -> Setting:
    """Declare a list of different names, none of them empty."""
    wanted = "a list of different names"

    def convert(value: Any) -> list[str]:
        found = list(_items(value, wanted))
        if not all(isinstance(name, str) for name in found):
            raise TypeError(wanted)
        if not all(found) or len({*found}) < len(found):
            raise ValueError(wanted)
        return found

    return Setting(list(default), convert, doc)


SEED = integer(42, at_least=0, at_most=2**62, doc="random seed")


def declare(setting: Setting) -> Any:
    """Declare a field of a dataclass of `CheckedSettings` by its setting."""
    return field(default=setting.default, metadata={"setting": setting})


def settings_of(declared: type) -> dict[str, Setting]:
    """Return the settings that a dataclass of `CheckedSettings` declares, by field."""
    return {of.name: of.metadata["setting"] for of in fields(declared)}


class CheckedSettings:
    """Base of a frozen dataclass whose fields are made by `declare`: checks all values.

    Raises
    ------
    TypeError, ValueError
        For a value that its setting refuses.
    """

    def __post_init__(self) -> None:
        for name, setting in settings_of(type(self)).items():
            object.__setattr__(self, name, setting.value(name, getattr(self, name)))


def documented(declared: _Class) -> _Class:
    """Decorate a dataclass of `CheckedSettings`: add what its settings say to its docstring."""
    lines = ["", "", "    Parameters", "    ----------"]
    for of in fields(declared):
        lines += [f"    {of.name} : {of.type}", f"        {of.metadata['setting'].doc}"]
    declared.__doc__ = (declared.__doc__ or "").rstrip() + "\n".join(lines)
    return declared


def _items(value: Any, wanted: str) -> Sequence[Any]:
    """Return the items of a list, a tuple or a NumPy array."""
    items = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(items, Sequence) or isinstance(items, str | bytes):
        raise TypeError(wanted)
    return items
