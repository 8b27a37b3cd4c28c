"""Arrays in safetensors bytes: read where they lie, and written where they are aligned.

safetensors' own reader copies every array; here they are views, so that processes that map one file
share its pages. ``docs/packed_format.md`` has the container.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from spark_ctr.safetensors_header import read_header

_DTYPES = {"F32": np.dtype("<f4"), "I8": np.dtype("i1"), "U8": np.dtype("u1")}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_METADATA = "__metadata__"
_LINE = 64  # bytes of a cache line


def read_arrays(data: bytes | memoryview) -> dict[str, np.ndarray]:
    """Return the arrays of safetensors bytes, views that cannot be written to.

    Every byte behind the header must be that of one array, so that no view reaches beyond.

    Parameters
    ----------
    data : bytes or memoryview
        Stays in memory, or mapped, as long as one of the arrays.

    Raises
    ------
    ValueError
        If the header does not describe the bytes, or an array is of another dtype than float32,
        int8 and uint8.
    """
    header, at = read_header(data)
    header.pop(_METADATA, None)
    described = {name: _described(name, facts) for name, facts in header.items()}
    arrays, end = {}, 0
    for name, (dtype, shape, begin, stop) in sorted(
        described.items(), key=lambda item: item[1][2:]
    ):
        size = math.prod(shape) * dtype.itemsize
        if begin != end or stop - begin != size or at + stop > len(data):
            raise _damaged(f"array {name!r} of {size} bytes is at [{begin}, {stop}), not at {end}")
        try:
            array: np.ndarray = np.ndarray(shape, dtype, data, at + begin)
        except (ValueError, OverflowError) as error:  # more axes or longer ones than NumPy has
            raise _damaged(f"array {name!r}: {error}") from None
        array.flags.writeable = False
        # On big-endian machines only, this is a copy.
        arrays[name] = array.astype(dtype.newbyteorder("="), copy=False)
        end = stop
    if at + end != len(data):
        raise _damaged(f"{len(data) - at} bytes of arrays, of which {end} are described")
    return arrays


def write_arrays(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> bytes:
    """Return safetensors bytes of float32, int8 and uint8 arrays; equal arrays give equal bytes.

    An array begins at a multiple of the largest power of two, up to 64, that divides its bytes.
    """
    # Before each array lie only bytes that its alignment divides too.
    order = sorted(arrays, key=lambda name: (-_alignment(arrays[name]), name))
    header: dict[str, Any] = {_METADATA: dict(metadata)}
    parts, end = [], 0
    for name in order:
        dtype = arrays[name].dtype.newbyteorder("<")
        part = np.ascontiguousarray(arrays[name], dtype).tobytes()
        offsets = [end, end := end + len(part)]
        shape = list(arrays[name].shape)
        header[name] = {"dtype": _NAMES[dtype], "shape": shape, "data_offsets": offsets}
        parts.append(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _LINE)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _alignment(array: np.ndarray) -> int:
    return min(array.nbytes & -array.nbytes or _LINE, _LINE)


def _described(name: str, facts: Any) -> tuple[np.dtype, list[int], int, int]:
    """Return dtype, shape, begin and end of an array."""
    if not isinstance(facts, dict) or set(facts) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(f"array {name!r} is {facts!r}")
    dtype, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise _damaged(f"array {name!r} is of dtype {dtype!r}, expected {', '.join(_DTYPES)}")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise _damaged(f"array {name!r} has shape {shape!r}, offsets {offsets!r}")
    return _DTYPES[dtype], shape, *offsets


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(n) is int and n >= 0 for n in values)


def _damaged(reason: str) -> ValueError:
    return ValueError(f"the weights are damaged: {reason}")
