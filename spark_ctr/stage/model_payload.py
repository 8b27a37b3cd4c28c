"""Binary payload of a saved model: rows of Parquet, checked by size and SHA-256."""

from __future__ import annotations

import hashlib
from typing import Any

from spark_ctr.stage.model_errors import ModelFileError, part_of_model
from spark_ctr.stage.model_files import ModelFiles

_CHUNK_BYTES = 4 << 20
_BATCH_CHUNKS = 8  # 32 MiB a message stays under Connect's limit
_MOST_ROWS = 1 << 20

FOLDER = "payload"


def payload_facts(payload: dict[str, bytes]) -> dict[str, dict[str, Any]]:
    """Size and digest of each part, for the record."""
    return {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in payload.items()
    }


def write_payload(files: ModelFiles, folder: str, payload: dict[str, bytes]) -> None:
    """Write parts to a folder that is not there yet."""
    rows = [
        (name, start // _CHUNK_BYTES, bytearray(data[start : start + _CHUNK_BYTES]))
        for name, data in sorted(payload.items())
        for start in range(0, max(len(data), 1), _CHUNK_BYTES)
    ]
    for start in range(0, len(rows), _BATCH_CHUNKS):
        files.add_rows(folder, rows[start : start + _BATCH_CHUNKS])


def read_payload(files: ModelFiles, folder: str, expected: Any) -> dict[str, bytes]:
    """Read the parts that the record names, and check them.

    Raises
    ------
    ModelFileError
    """
    place = f"{files.path}/{folder}"
    sizes = _sizes(expected, place)
    if not sizes:
        return {}
    # No more than there ought to be is read, whatever the files hold.
    most = sum(max(1, -(-size // _CHUNK_BYTES)) for size in sizes.values()) + 1
    with part_of_model(f"cannot read {place}"):
        found = files.rows(folder, min(most, _MOST_ROWS), _CHUNK_BYTES)
        rows = sorted(found, key=lambda row: (row["name"], row["part"]))
        payload = {name: bytearray() for name in sizes}
        for row in rows:
            payload.setdefault(row["name"], bytearray()).extend(row["data"])
    for name, size in sizes.items():
        data = payload[name]
        if len(data) != size:
            raise ModelFileError(
                f"{name} in {place} is truncated or missing: {len(data)} bytes instead of {size}"
            )
        if hashlib.sha256(data).hexdigest() != expected[name].get("sha256"):
            raise ModelFileError(f"{name} in {place} was altered: its SHA-256 does not match")
    return {name: bytes(payload[name]) for name in sizes}


def _sizes(expected: Any, place: str) -> dict[str, int]:
    if not isinstance(expected, dict):
        raise ModelFileError(f"{place}: the metadata name no parts but {expected!r}")
    sizes = {}
    for name, facts in expected.items():
        size = facts.get("bytes") if isinstance(facts, dict) else None
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise ModelFileError(f"{place}: the metadata give {name} no valid size: {size!r}")
        sizes[name] = size
    return sizes
