"""What is said of each task beside the column of its label: the Param ``tasks``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spark_ctr.settings import number, text
from spark_ctr.stage.labels import label_text

_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "name": text().value,
    "weight": number(1.0, at_least=0.0).value,
    "weightCol": text().value,
    "knownWhen": text().value,
    "timeCol": text().value,
    "matureAfter": number(0.0, at_least=0.0).value,
    "positiveLabel": lambda where, value: label_text(value),
}


def task_settings(value: Any) -> dict[str, dict[str, Any]]:
    """Check a value of the Param ``tasks`` and return it in a form of its own.

    Parameters
    ----------
    value : dict of str to dict
        By label column.

    Raises
    ------
    TypeError, ValueError
        Names the key that is wrong.
    """
    by_name = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    if not by_name or not all(isinstance(said, dict) for said in value.values()):
        raise TypeError(f"tasks must be a dict of a dict for each label column: {value!r}")
    found = {column: _said(column, said) for column, said in value.items()}
    for column, said in found.items():
        if ("timeCol" in said) != ("matureAfter" in said):
            raise ValueError(
                f"tasks[{column!r}] needs timeCol and matureAfter together: the column of the "
                "moment from which the label matures, and for how long"
            )
    return found


def _said(column: str, said: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(map(str, {*said} - {*_KEYS}))
    if unknown:
        raise ValueError(
            f"tasks[{column!r}] has the unknown key(s) {', '.join(unknown)}; valid keys: "
            f"{', '.join(_KEYS)}"
        )
    return {key: _KEYS[key](f"tasks[{column!r}][{key!r}]", value) for key, value in said.items()}
