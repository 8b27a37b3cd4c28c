"""Save and load stages: JSON metadata, binary payload in Parquet, checksums on both, no pickle."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from typing import Any

from pyspark.ml.param import Params
from pyspark.ml.util import DefaultParamsWriter, MLReadable, MLReader, MLWritable, MLWriter
from pyspark.sql import SparkSession

from spark_ctr.networks.trust import trust
from spark_ctr.stage.meta import nested_stages
from spark_ctr.stage.model_errors import ModelFileError, part_of_model
from spark_ctr.stage.model_files import METADATA, ModelFiles
from spark_ctr.stage.model_payload import FOLDER, payload_facts, read_payload, write_payload
from spark_ctr.stage.model_record import (
    FORMAT_VERSION,
    Record,
    content_folder,
    newest_record,
)
from spark_ctr.stage.model_replacement import Replacement

__all__ = [
    "FORMAT_VERSION",
    "ModelFileError",
    "PersistentStage",
    "StageReader",
    "StageWriter",
    "load_stage",
    "public_name",
]

# Part of every payload: content of another save, or none, never passes for this one's.
_SAVE = "_save"
_LONGEST_UID = 200
_NUMBERED = re.compile(r"-\d{1,3}$")


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
        """Take back what ``_state`` gave.

        Whoever can write files can write checksums too, so this checks what the values mean; what
        it raises becomes a ModelFileError.
        """

    def write(self) -> StageWriter:
        """Return a writer: ``stage.write().overwrite().save(path)``."""
        return StageWriter(self)

    @classmethod
    def read(cls) -> StageReader:
        """Return a reader: ``Stage.read().load(path)``."""
        return StageReader(cls)

    @classmethod
    def load(cls, path: str, trustedModules: Sequence[str] = ()) -> Any:
        """Load what ``save`` wrote; see :meth:`StageReader.trustedModules`."""
        return cls.read().trustedModules(trustedModules).load(path)


def public_name(cls: type) -> str:
    """Import path users see, stable when a class moves between files of its package."""
    return ".".join(cls.__module__.split(".")[:2]) + "." + cls.__qualname__


class StageWriter(MLWriter):
    """Writes payload and nested stages, then the line of ``metadata/`` that makes them a model.

    Overwriting a model leaves it whole until the new one is: killed at any moment, with a full
    disk or without permission, the path holds the old model or the new one.
    """

    def __init__(self, stage: PersistentStage) -> None:
        super().__init__()
        self.stage = stage

    def save(self, path: str) -> None:
        """Save to ``path``; fails where something is, unless ``overwrite()`` was asked for.

        Raises
        ------
        ModelFileError
        """
        self.saveImpl(path)

    def saveImpl(self, path: str) -> None:
        """Write the parts and make them the model."""
        self.write_record(path)

    def write_record(self, path: str) -> str:
        """Save, and return the checksum of the metadata."""
        spark, stage = self.sparkSession, self.stage
        nested = nested_stages(stage)
        kept = {
            declared.name: value
            for declared, value in stage._paramMap.items()
            if declared.name not in stage._nested_params
        }
        state, payload = stage._state()
        what = f"{type(stage).__name__} {stage.uid}"
        files = ModelFiles(spark, path)
        with Replacement(files, what, self.shouldOverwrite) as replacement:
            payload = payload | {_SAVE: replacement.save_id.encode()}
            text = DefaultParamsWriter._get_metadata_to_save(
                stage, spark, {"class": public_name(type(stage))}, kept
            )
            replacement.needs(sum(map(len, payload.values())) + len(text))
            folder = content_folder(replacement.save_id)
            own: dict[str, Any] = {"state": state, "payload": payload_facts(payload), "nested": {}}
            for name, child in sorted(nested.items()):
                with replacement.writing(name):
                    writer = child.write().session(spark)
                    own["nested"][name] = writer.write_record(f"{files.path}/{folder}/{name}")
            with replacement.writing("payload"):
                write_payload(files, f"{folder}/{FOLDER}", payload)
            return replacement.publish(json.loads(text), own)


class StageReader(MLReader):
    """Reads what :class:`StageWriter` wrote and checks it."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.cls = cls
        self._trusted: tuple[str, ...] = ()

    def trustedModules(self, modules: Sequence[str]) -> StageReader:
        """Name the modules that a saved network of one's own may be imported from.

        A package stands for all modules below it. Nothing else is imported: a model that names
        another module is refused.
        """
        if isinstance(modules, str):
            raise TypeError(f"trustedModules is a list of names, got {modules!r}")
        self._trusted = tuple(modules)
        return self

    def load(self, path: str) -> Any:
        """Load a stage; ModelFileError names the part that is missing, truncated or altered."""
        files = ModelFiles(self.sparkSession, path)
        with trust(*self._trusted):
            return stage_from(files, newest_record(files), self.cls)


def load_stage(path: str, spark: SparkSession, checksum: str | None = None) -> Any:
    """Load a stage of any of our classes, the one that its own metadata names.

    Parameters
    ----------
    path : str
    spark : SparkSession
    checksum : str, optional
        Of its metadata, from the model that it is part of.
    """
    files = ModelFiles(spark, path)
    record = newest_record(files)
    if checksum is not None and record.checksum != checksum:
        raise ModelFileError(f"{files.path}/{METADATA} is of another model: it was exchanged")
    return stage_from(files, record, stage_class(record.class_name, files.path))


def stage_class(name: str, path: str) -> type:
    """Return one of our stages by the name in its metadata; nothing else is imported."""
    found = None
    if re.fullmatch(r"spark_ctr\.[a-z_]+\.[A-Za-z]+", name):
        module, _, attribute = name.rpartition(".")
        with part_of_model(f"{path}/{METADATA} names the class {name}"):
            found = getattr(importlib.import_module(module), attribute, None)
    if not (isinstance(found, type) and issubclass(found, PersistentStage)):
        raise ModelFileError(f"{path}/{METADATA} names the class {name}, not one of ours")
    return found


def stage_from(files: ModelFiles, record: Record, cls: type) -> Any:
    """Build a stage from its record, part by part."""
    place = f"{files.path}/{METADATA}"
    if record.class_name != public_name(cls):
        raise ModelFileError(
            f"{files.path} holds a {record.class_name}, not a {public_name(cls)}; "
            f"load it with {record.class_name.rpartition('.')[2]}.load"
        )
    stage = cls()
    with part_of_model(f"{place}: Params"):
        _set_params(stage, record.metadata)
    children: dict[str, Any] = {}
    for name, checksum in _nested_of(record, stage, place).items():
        children[name] = load_stage(f"{files.path}/{record.folder}{name}", files.spark, checksum)
    for name in stage._nested_params:
        value = children.get(name) or _in_order(name, children)
        if value:
            with part_of_model(f"{place}: {name}"):
                stage._set(**{name: value})
    payload = read_payload(files, record.folder + FOLDER, record.own.get("payload"))
    if record.save_id and payload.pop(_SAVE, b"") != record.save_id.encode():
        raise ModelFileError(f"{files.path}/{record.folder}{FOLDER} is of another save")
    state = record.own.get("state")
    if not isinstance(state, dict):
        raise ModelFileError(f"{place}: the state is {type(state).__name__}, not an object")
    with part_of_model(f"{files.path}: the state of {cls.__name__} is not valid"):
        stage._restore(state, payload)
    return stage


def _set_params(stage: Any, metadata: dict[str, Any]) -> None:
    """Set uid and Params; their converters check kind and range."""
    uid = metadata.get("uid")
    if not isinstance(uid, str) or not 0 < len(uid) <= _LONGEST_UID:
        raise ValueError(f"uid is not valid: {uid!r}")
    stage._resetUid(uid)
    for kind, take in (("defaultParamMap", stage._setDefault), ("paramMap", stage._set)):
        values = metadata.get(kind)
        if not isinstance(values, dict):
            raise ValueError(f"{kind} is missing")
        for name, value in values.items():
            if not stage.hasParam(name) or name in stage._nested_params:
                raise ValueError(f"{type(stage).__name__} has no Param {name!r} in {kind}")
            if value is None:
                raise ValueError(f"{name} is null")
            take(**{name: value})


def _nested_of(record: Record, stage: Any, place: str) -> dict[str, str | None]:
    """Names and checksums of the nested stages; format 1 has no checksums."""
    nested = record.own.get("nested")
    if record.save_id:
        found = nested if isinstance(nested, dict) else None
    else:
        found = dict.fromkeys(nested) if isinstance(nested, list) else None
    names = None if found is None else {_NUMBERED.sub("", name) for name in found}
    if found is None or names is None or not names <= set(stage._nested_params):
        raise ModelFileError(f"{place}: {type(stage).__name__} has no nested {nested!r}")
    if record.save_id and not all(isinstance(value, str) for value in found.values()):
        raise ModelFileError(f"{place}: a nested stage has no checksum: {nested!r}")
    return found


def _in_order(name: str, children: dict[str, Any]) -> list[Any]:
    """Return the stages of a list, which `nested_stages` numbered."""
    keys = [key for key in children if key != name and _NUMBERED.sub("", key) == name]
    if sorted(keys) != sorted(f"{name}-{i}" for i in range(len(keys))):
        raise ModelFileError(f"of the stages in {name}, there are {sorted(keys)}")
    return [children[f"{name}-{i}"] for i in range(len(keys))]
