"""Values of a saved model's state, by kind and range."""

from __future__ import annotations

import math
from typing import Any


class SavedValues:
    """Takes values out of an object of JSON; each error names the value.

    Parameters
    ----------
    values : object
        Should be a dict.
    place : str
        Its name in messages.

    Raises
    ------
    ValueError
        By every method, for a value that is missing, of another kind or out of range.
    """

    def __init__(self, values: Any, place: str) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"{place} is {_short(values)}, not an object")
        self._values, self._place = values, place

    def whole(self, name: str, least: int, most: int) -> int:
        """Return a whole number in a range."""
        value = self._values.get(name)
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str) -> float | None:
        """Return a finite number, or None where there is none."""
        value = self._values.get(name)
        if value is None:
            return None
        if type(value) not in (int, float) or not math.isfinite(value):
            raise self._wrong(name, "a finite number")
        return value

    def text(self, name: str, *choices: str) -> str:
        """Return a string, one of some where they are given."""
        value = self._values.get(name)
        if not isinstance(value, str) or (choices and value not in choices):
            raise self._wrong(name, f"one of {', '.join(choices)}" if choices else "a string")
        return value

    def flag(self, name: str) -> bool:
        """Return a bool."""
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def many(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._values.get(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value

    def names(self, name: str) -> list[str]:
        """Return a list of different strings."""
        value = self.many(name)
        if not all(isinstance(one, str) for one in value) or len({*value}) < len(value):
            raise self._wrong(name, "a list of different strings")
        return value

    def _wrong(self, name: str, wanted: str) -> ValueError:
        found = _short(self._values[name]) if name in self._values else "missing"
        return ValueError(f"{name} of {self._place} must be {wanted}, but is {found}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:80]}…"
