"""The header of safetensors bytes, and the JSON that spark_ctr keeps in it."""

from __future__ import annotations

import json
from typing import Any

# What readers of safetensors allow.
_MOST_BYTES = 100_000_000


def read_header(data: bytes | memoryview) -> tuple[dict[str, Any], int]:
    """Return the JSON object of a safetensors header, and where the tensors begin.

    Raises
    ------
    ValueError
        If the bytes are no safetensors.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, _MOST_BYTES):
        raise ValueError(f"the weights are damaged: {len(data)} bytes, header of {length}")
    try:
        text = bytes(data[8 : 8 + length]).decode()
        header = json.loads(text, object_pairs_hook=_without_doubles)
        if not text.startswith("{"):
            raise ValueError(f"it begins with {text[:1]!r}")
        metadata = header.get("__metadata__")
        held = {} if metadata is None else metadata
        if not isinstance(held, dict) or not all(isinstance(v, str) for v in held.values()):
            raise ValueError(f"__metadata__ is {metadata!r}")
    except (ValueError, RecursionError) as error:
        raise _damaged(error) from None
    return header, 8 + length


def read_description(data: bytes | memoryview, key: str) -> dict[str, Any]:
    """Return the JSON object under a key of a safetensors header.

    Raises
    ------
    ValueError
        If the bytes are no safetensors or have no such object.
    """
    header, _ = read_header(data)
    try:
        described = json.loads(header["__metadata__"][key])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _damaged(error) from None
    if not isinstance(described, dict):
        raise ValueError(f"the header of the weights is damaged: {key} is {described!r}")
    return described


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _damaged(error: Exception) -> ValueError:
    return ValueError(f"the header of the weights is damaged: {type(error).__name__} {error}")
