"""Save and load stages: JSON metadata, binary payload in Parquet, checksums on both, no pickle."""

from __future__ import annotations

import hashlib
import importlib
import json
from typing import Any

from pyspark.ml.param import Params
from pyspark.ml.util import (
    DefaultParamsReader,
    DefaultParamsWriter,
    MLReadable,
    MLReader,
    MLWritable,
    MLWriter,
)
from pyspark.sql import SparkSession

from spark_ctr.stage.session import is_connect
from spark_ctr.version import __version__

FORMAT_VERSION = 1
_CHUNK_BYTES = 4 << 20
_BATCH_CHUNKS = 8  # 32 MiB a message stays under Connect's limit


class ModelFileError(ValueError):
    """A saved stage that is missing, truncated, altered, or written by a newer version."""


class PersistentStage(Params, MLWritable, MLReadable):
    """Mixin: what a stage keeps beside its Params, and how it is written.

    A stage with fitted state overrides ``_state``/``_restore``; a meta-estimator lists the Params
    that hold stages in ``_nested_params``.
    """

    _nested_params: tuple[str, ...] = ()

    def _state(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """JSON-able state and binary payload by name."""
        return {}, {}

    def _restore(self, state: dict[str, Any], payload: dict[str, bytes]) -> None:
        """Take back what ``_state`` gave."""

    def write(self) -> StageWriter:
        """Return a writer: ``stage.write().overwrite().save(path)``."""
        return StageWriter(self)

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader: ``Stage.read().load(path)``."""
        return StageReader(cls)


def public_name(cls: type) -> str:
    """Import path users see, stable when a class moves between files of its package."""
    return ".".join(cls.__module__.split(".")[:2]) + "." + cls.__qualname__


class StageWriter(MLWriter):
    """Writes ``metadata/`` (one JSON line), ``payload/`` (Parquet) and nested stages."""

    def __init__(self, stage: PersistentStage) -> None:
        super().__init__()
        self.stage = stage

    def save(self, path: str) -> None:
        """Save to ``path``; fails where something is, unless ``overwrite()`` was asked for."""
        if self.shouldOverwrite and not is_connect(self.sparkSession):
            self._handleOverwrite(path)
        self.saveImpl(path)

    def saveImpl(self, path: str) -> None:
        """Write the parts; ``save`` has made room for them."""
        spark, stage = self.sparkSession, self.stage
        mode = "overwrite" if self.shouldOverwrite else "error"
        state, payload = stage._state()
        nested = {
            name: stage.getOrDefault(name) for name in stage._nested_params if stage.isSet(name)
        }
        kept = {
            declared: value
            for declared, value in stage._paramMap.items()
            if declared.name not in stage._nested_params
        }
        extra = {
            "class": public_name(type(stage)),
            "sparkCtr": {
                "formatVersion": FORMAT_VERSION,
                "version": __version__,
                "state": state,
                "nested": sorted(nested),
                "payload": {
                    name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                    for name, data in payload.items()
                },
            },
        }
        text = DefaultParamsWriter._get_metadata_to_save(
            stage, spark, extra, {declared.name: value for declared, value in kept.items()}
        )
        metadata = json.loads(text)
        metadata["checksum"] = _checksum(metadata)
        line = json.dumps(metadata, separators=(",", ":"))
        frame = spark.createDataFrame([(line,)], "value string").coalesce(1)
        frame.write.mode(mode).text(f"{path}/metadata")
        for name, child in nested.items():
            writer = child.write()
            (writer.overwrite() if self.shouldOverwrite else writer).save(f"{path}/{name}")
        _write_payload(spark, f"{path}/payload", payload, mode)


class StageReader(MLReader):
    """Reads what :class:`StageWriter` wrote and checks it."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.cls = cls

    def load(self, path: str) -> Any:
        """Load a stage; ModelFileError names the file that is missing, truncated or altered."""
        metadata = _read_metadata(self.sparkSession, f"{path}/metadata")
        if metadata["class"] != public_name(self.cls):
            raise ModelFileError(
                f"{path} holds a {metadata['class']}, not a {public_name(self.cls)}; "
                f"load it with {metadata['class'].rsplit('.', 1)[1]}.load"
            )
        saved = metadata["sparkCtr"]
        stage = self.cls()
        stage._resetUid(metadata["uid"])
        DefaultParamsReader.getAndSetParams(stage, metadata)
        for name in saved["nested"]:
            stage._set(**{name: load_stage(f"{path}/{name}", self.sparkSession)})
        stage._restore(
            saved["state"], _read_payload(self.sparkSession, f"{path}/payload", saved["payload"])
        )
        return stage


def load_stage(path: str, spark: SparkSession) -> Any:
    """Load a stage of any class that its own metadata names."""
    module, name = _read_metadata(spark, f"{path}/metadata")["class"].rsplit(".", 1)
    if module.split(".")[0] not in ("spark_ctr", "pyspark"):
        raise ModelFileError(f"{path}/metadata names the class {module}.{name}, not one of ours")
    reader = getattr(importlib.import_module(module), name).read()
    return reader.session(spark).load(path)


def _checksum(metadata: dict[str, Any]) -> str:
    content = {key: value for key, value in metadata.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read_metadata(spark: SparkSession, path: str) -> dict[str, Any]:
    try:
        rows = spark.read.text(path).collect()
    except Exception as error:  # Spark raises different types on classic, Connect and per version
        raise ModelFileError(f"cannot read {path}: {_first_line(error)}") from error
    try:
        metadata = json.loads("\n".join(row[0] for row in rows))
        version = metadata["sparkCtr"]["formatVersion"]
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path} is truncated or not a spark_ctr stage: {error}") from error
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {version}, this spark_ctr {__version__} reads up to "
            f"{FORMAT_VERSION}; upgrade spark_ctr"
        )
    if metadata.get("checksum") != _checksum(metadata):
        raise ModelFileError(f"{path} was altered after saving: its checksum does not match")
    return metadata


def _write_payload(spark: SparkSession, path: str, payload: dict[str, bytes], mode: str) -> None:
    rows = [
        (name, start // _CHUNK_BYTES, bytearray(data[start : start + _CHUNK_BYTES]))
        for name, data in sorted(payload.items())
        for start in range(0, max(len(data), 1), _CHUNK_BYTES)
    ]
    for start in range(0, len(rows), _BATCH_CHUNKS):
        frame = spark.createDataFrame(
            rows[start : start + _BATCH_CHUNKS], "name string, part int, data binary"
        )
        frame.coalesce(1).write.mode(mode if start == 0 else "append").parquet(path)


def _read_payload(
    spark: SparkSession, path: str, expected: dict[str, dict[str, Any]]
) -> dict[str, bytes]:
    if not expected:
        return {}
    try:
        frame = spark.read.schema("name string, part int, data binary").parquet(path)
        rows = sorted(frame.collect(), key=lambda row: (row["name"], row["part"]))
    except Exception as error:  # Spark raises different types on classic, Connect and per version
        raise ModelFileError(f"cannot read {path}: {_first_line(error)}") from error
    payload = {name: bytearray() for name in expected}
    for row in rows:
        payload.setdefault(row["name"], bytearray()).extend(row["data"])
    for name, facts in expected.items():
        data = payload[name]
        if len(data) != facts["bytes"]:
            raise ModelFileError(
                f"{name} in {path} is truncated or missing: "
                f"{len(data)} bytes instead of {facts['bytes']}"
            )
        if hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise ModelFileError(f"{name} in {path} was altered: its SHA-256 does not match")
    return {name: bytes(payload[name]) for name in expected}


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
