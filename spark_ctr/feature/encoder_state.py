"""The state of a saved HashedEmbeddingEncoderModel, checked."""

from __future__ import annotations

from typing import Any

import numpy as np
import safetensors.numpy

from spark_ctr.hashing import SCHEMES
from spark_ctr.stage.saved_values import SavedValues
from spark_ctr.tables import POOLINGS

_MOST_BUCKETS = 1 << 30
_MOST_ROWS = 2**31 - 1  # ids are int32
_MOST_DIMENSIONS = _MOST_VALUES = 1024


def saved_encoding(
    state: dict[str, Any], vocabulary: bytes
) -> tuple[list[dict[str, Any]], list[np.ndarray], list[str], bool]:
    """Return the facts of the columns, their private values, the numeric columns, and sharing.

    Raises
    ------
    ValueError
        If a value is missing, of another kind or out of range, or values do not fit together.
    """
    saved = SavedValues(state, "the state")
    columns, shared = saved.many("categorical"), saved.flag("shared")
    for position, facts in enumerate(columns):
        _check_column(SavedValues(facts, f"categorical column {position}"))
    names = [facts["name"] for facts in columns]
    if len({*names}) < len(names):
        raise ValueError(f"categorical columns appear twice: {names}")
    heads = _heads(vocabulary, len(columns))
    rows = [1 + len(h) + facts["buckets"] for h, facts in zip(heads, columns, strict=True)]
    if (sum(rows) if shared else max(rows, default=0)) > _MOST_ROWS:
        raise ValueError(f"tables would have {rows} rows, and ids are 32-bit numbers")
    if shared and len({(facts["buckets"], facts["dim"]) for facts in columns}) > 1:
        raise ValueError("columns share a table, but differ in buckets or dimension")
    return columns, heads, saved.names("numeric"), shared


def _check_column(column: SavedValues) -> None:
    column.text("name")
    column.text("scheme", *SCHEMES)
    column.flag("signed")
    column.whole("buckets", 1, _MOST_BUCKETS)
    column.whole("seed", -(2**63), 2**63 - 1)
    column.whole("dim", 1, _MOST_DIMENSIONS)
    column.whole("values", 0, _MOST_VALUES)
    column.text("pooling", *POOLINGS)
    column.whole("unread", 0, 2**63 - 1)


def _heads(data: bytes, columns: int) -> list[np.ndarray]:
    """Private values of each column: different 64-bit hashes."""
    try:
        heads = safetensors.numpy.load(data)
    except Exception as error:  # safetensors has a type of its own for each kind of damage
        raise ValueError(f"vocabulary.safetensors is damaged: {error}") from None
    names = [f"{position:05d}" for position in range(columns)]
    if sorted(heads) != names:
        raise ValueError(f"vocabularies of {columns} columns are needed, found {sorted(heads)}")
    for name, head in heads.items():
        if head.dtype != np.int64 or head.ndim != 1:
            raise ValueError(f"vocabulary {name} is {head.dtype} of shape {list(head.shape)}")
        if len(np.unique(head)) < len(head):
            raise ValueError(f"vocabulary {name} has a value twice")
    return [heads[name] for name in names]
