"""The JSON that spark_ctr keeps in the header of safetensors bytes."""

from __future__ import annotations

import json
from typing import Any


def read_description(data: bytes, key: str) -> dict[str, Any]:
    """Return the JSON object under a key of a safetensors header.

    Raises
    ------
    ValueError
        If the bytes are no safetensors or have no such object.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError(f"the weights are damaged: {len(data)} bytes, header of {length}")
    try:
        described = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][key])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"the header of the weights is damaged: {type(error).__name__} {error}"
        ) from None
    if not isinstance(described, dict):
        raise ValueError(f"the header of the weights is damaged: {key} is {described!r}")
    return described
