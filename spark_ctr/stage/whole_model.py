"""Save and load whole pipelines, as safely as a single stage."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Sequence
from typing import Any

from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.pipeline import PipelineSharedReadWrite
from pyspark.ml.util import DefaultParamsWriter, MLWritable, MLWriter

from spark_ctr.networks.trust import check_trusted, trust
from spark_ctr.stage.model_errors import ModelFileError, part_of_model
from spark_ctr.stage.model_files import METADATA, ModelFiles
from spark_ctr.stage.model_record import Record, content_folder, newest_metadata
from spark_ctr.stage.model_replacement import Replacement
from spark_ctr.stage.persistence import PersistentStage, stage_class, stage_from

_STAGES = "stages"
_MODEL = "model"
_PIPELINES = {f"{kind.__module__}.{kind.__name__}": kind for kind in (Pipeline, PipelineModel)}


def save(model: Any, path: str, overwrite: bool = False) -> None:
    """Save a stage, a Pipeline or PipelineModel, or another model of Spark ML.

    ``model.write().overwrite().save(path)`` of a PipelineModel deletes what is there and then
    writes: killed between, or with a full disk, it leaves no model. With this the old model is
    there until the new one is whole, for all stages at once. ``PipelineModel.load`` reads what this
    wrote; other compound models of Spark ML, such as CrossValidatorModel, are read by :func:`load`.

    Parameters
    ----------
    model : MLWritable
    path : str
        Path or URI that Spark understands.
    overwrite : bool
        Whether what is at the path may be replaced.

    Raises
    ------
    ModelFileError
        Names what was being written, where, and why it failed.
    TypeError
        If the model, or a stage of it, cannot be saved.
    """
    _check_writable(model)
    _save(model, path, overwrite)


def load(path: str, trustedModules: Sequence[str] = ()) -> Any:
    """Load what :func:`save` or a writer of Spark ML saved, of the class that it is of.

    Parameters
    ----------
    path : str
    trustedModules : sequence of str
        Modules, or packages of them, that may be imported where the model names one of somebody's
        own.

    Raises
    ------
    ModelFileError
    """
    if isinstance(trustedModules, str):
        raise TypeError(f"trustedModules is a list of names, got {trustedModules!r}")
    with trust(*trustedModules):
        return _load(ModelFiles(MLWriter().sparkSession, path), None)


def _check_writable(model: Any) -> None:
    stages = _stages_of(model)
    if stages is None and not isinstance(model, MLWritable):
        raise TypeError(f"{type(model).__name__} cannot be saved: it has no write()")
    for stage in stages or []:
        _check_writable(stage)


def _stages_of(model: Any) -> list[Any] | None:
    if isinstance(model, Pipeline):
        return model.getStages()
    return list(model.stages) if isinstance(model, PipelineModel) else None


def _save(model: Any, path: str, overwrite: bool) -> str | None:
    """Save, and return the checksum of the metadata where they are ours."""
    if isinstance(model, PersistentStage):
        writer = model.write()
        return (writer.overwrite() if overwrite else writer).write_record(path)  # type: ignore[attr-defined]
    stages = _stages_of(model)
    files = ModelFiles(MLWriter().sparkSession, path)
    own: dict[str, Any] = {}
    with Replacement(files, f"{type(model).__name__} {model.uid}", overwrite) as replacement:
        if stages is None:
            folder = f"{content_folder(replacement.save_id)}/{_MODEL}"
            with replacement.writing(_MODEL):
                model.write().save(f"{files.path}/{folder}")
            params: dict[str, Any] = {}
        else:
            # Spark ML's reader puts the stages together from these names: see `_stage_folder`.
            uids = [f"{replacement.save_id}/{stage.uid}" for stage in stages]
            params = {"stageUids": uids, "language": "Python"}
            own["stages"] = []
            for position, (uid, stage) in enumerate(zip(uids, stages, strict=True)):
                folder = _stage_folder(position, len(stages), uid)
                replacement.owns(folder.rpartition("/")[0])
                with replacement.writing(f"stage {position} ({stage.uid})"):
                    own["stages"].append(_save_stage(stage, f"{files.path}/{folder}"))
        text = DefaultParamsWriter._get_metadata_to_save(model, files.spark, paramMap=params)
        return replacement.publish(json.loads(text), own)


def _save_stage(stage: Any, path: str) -> str | None:
    if isinstance(stage, PersistentStage) or _stages_of(stage) is not None:
        return _save(stage, path, overwrite=False)
    stage.write().save(path)
    return None


def _stage_folder(position: int, stages: int, uid: str) -> str:
    return PipelineSharedReadWrite.getStagePath(uid, position, stages, _STAGES)


def _load(files: ModelFiles, checksum: str | None) -> Any:
    found = newest_metadata(files)
    record = found if isinstance(found, Record) else None
    if checksum is not None and (record is None or record.checksum != checksum):
        raise ModelFileError(f"{files.path}/{METADATA} is of another model: it was exchanged")
    metadata = record.metadata if record else found
    name = metadata["class"]  # type: ignore[index]
    if name.startswith("spark_ctr."):
        cls = stage_class(name, files.path)
        if record is None:
            raise ModelFileError(f"{files.path}/{METADATA} is truncated: 'sparkCtr' is missing")
        return stage_from(files, record, cls)
    if name in _PIPELINES and metadata.get("paramMap", {}).get("language") == "Python":  # type: ignore[union-attr]
        stages = [
            _load(ModelFiles(files.spark, f"{files.path}/{folder}"), own)
            for folder, own in _folders(metadata, record, files.path)  # type: ignore[arg-type]
        ]
        return _PIPELINES[name](stages=stages)._resetUid(metadata["uid"])  # type: ignore[index]
    folder = f"{files.path}/{record.folder}{_MODEL}" if record else files.path
    with part_of_model(f"cannot load the {name} in {folder}"):
        return _class(name).load(folder)


def _folders(
    metadata: dict[str, Any], record: Record | None, path: str
) -> list[tuple[str, str | None]]:
    """Folder and checksum of each stage of a pipeline."""
    uid: Any = metadata.get("uid")
    uids: Any = metadata["paramMap"].get("stageUids")
    checksums: Any = record.own.get("stages") if record else [None] * len(uids or [])
    within = f"{record.save_id}/" if record else ""
    good = (
        isinstance(uid, str)
        and isinstance(uids, list)
        and isinstance(checksums, list)
        and len(uids) == len(checksums)
        and all(isinstance(u, str) and re.fullmatch(f"{within}[^/]+", u) for u in uids)
        and all(isinstance(c, str | None) for c in checksums)
    )
    if not good:
        raise ModelFileError(f"{path}/{METADATA} names no valid stages: {uids!r}")
    folders = [_stage_folder(i, len(uids), name) for i, name in enumerate(uids)]
    return list(zip(folders, checksums, strict=True))


def _class(name: str) -> Any:
    """Class of Spark ML, or one whose module the caller trusts."""
    python = name.replace("org.apache.spark.", "pyspark.", 1)
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", python):
        raise ValueError("that is no name of a class")
    module, _, attribute = python.rpartition(".")
    if not re.fullmatch(r"pyspark\.ml(\.[a-z_]+)*", module):
        check_trusted(f"{module}:{attribute}")
    found = getattr(importlib.import_module(module), attribute, None)
    if not hasattr(found, "load"):
        raise ValueError(f"{module} has no such class")
    return found
