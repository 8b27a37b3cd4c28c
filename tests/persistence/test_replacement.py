"""Overwriting: whatever happens in between, the old model is there or the new one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_files import DiskFiles
from pyspark.ml import PipelineModel
from pyspark.ml.feature import StringIndexer
from saved_models import FORMAT1
from small_models import click_rows

import spark_ctr
from spark_ctr.feature import ClickLogCleanerModel, HashedEmbeddingEncoderModel
from spark_ctr.stage.persistence import ModelFileError


class Killed(BaseException):
    """Stands in for the end of the process: nothing is tidied up after it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """End the process at a moment: before or after each step on the file system."""
    steps: list[str] = []

    def ending(name: str) -> Callable[..., Any]:
        step = getattr(DiskFiles, name)

        def run(self: DiskFiles, *args: Any) -> Any:
            steps.append(name)
            if moment == 2 * len(steps) - 2:
                raise Killed
            found = step(self, *args)
            if moment == 2 * len(steps) - 1:
                raise Killed
            return found

        return run

    for name in ("add_line", "add_rows", "remove"):
        monkeypatch.setattr(DiskFiles, name, ending(name))
    return steps


def moments(save: Callable[[], None]) -> Iterator[int]:
    """Save, killed at each moment in turn, until a save comes to its end."""
    moment = 0
    while True:
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill_at(monkeypatch, moment)
            try:
                save()
            except Killed:
                yield moment
            else:
                return
        moment += 1


def visible(folder: Path) -> set[str]:
    """Files of a model that count, by folder."""
    names = {path for path in folder.rglob("*") if path.is_file()}
    return {str(p.parent.relative_to(folder)) for p in names if p.name[0] not in "._"}


@pytest.mark.once
def test_a_killed_save_of_a_stage_leaves_old_or_new(
    models: dict[str, Any], disk: None, tmp_path: Path
) -> None:
    path = f"{tmp_path}/model"
    old, new = models["encoder"], models["encoder"].copy()
    new._resetUid("new")
    old.save(path)
    found = []
    for _ in moments(lambda: new.write().overwrite().save(path)):
        loaded = HashedEmbeddingEncoderModel.load(path)
        assert loaded._state() == old._state()
        found.append(loaded.uid)
        old.write().overwrite().save(path)
    assert found == [old.uid] * 3 + ["new"] * (len(found) - 3)
    assert len(found) == 8
    assert HashedEmbeddingEncoderModel.load(path).uid == "new"


@pytest.mark.once
def test_a_killed_save_of_a_pipeline_leaves_all_stages_old_or_all_new(
    models: dict[str, Any], disk: None, tmp_path: Path
) -> None:
    path = f"{tmp_path}/model"
    old = PipelineModel([models["cleaner"], models["encoder"]])
    new = old.copy()
    for stage in new.stages:
        stage._set(handleInvalid="skip")  # the same uids, as of a pipeline fitted again
    spark_ctr.save(old, path)
    found = []
    for _ in moments(lambda: spark_ctr.save(new, path, overwrite=True)):
        kept = {stage.getHandleInvalid() for stage in spark_ctr.load(path).stages}
        assert kept == {"skip"} or "skip" not in kept
        found.append(kept == {"skip"})
        spark_ctr.save(old, path, overwrite=True)
    assert found.count(False) == 9 and found[9:] == [True] * (len(found) - 9)
    assert len(found) >= 14


@pytest.mark.once
def test_a_first_save_that_is_killed_is_no_model(
    models: dict[str, Any], disk: None, tmp_path: Path
) -> None:
    path = f"{tmp_path}/model"
    with pytest.MonkeyPatch.context() as monkeypatch:
        kill_at(monkeypatch, 2)  # the content is there, the metadata are not
        with pytest.raises(Killed):
            models["encoder"].save(path)
    with pytest.raises(ModelFileError, match="did not come to its end"):
        HashedEmbeddingEncoderModel.load(path)
    models["encoder"].save(path)
    assert HashedEmbeddingEncoderModel.load(path).uid == models["encoder"].uid


def test_what_was_replaced_is_removed(models: dict[str, Any], spark: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copytree(FORMAT1 / "pipeline", path)
    spark_ctr.save(PipelineModel([models["cleaner"]]), str(path), overwrite=True)
    spark_ctr.save(models["encoder"], str(path), overwrite=True)
    (abandoned, recent) = (path / "versions" / name for name in ("0" * 12, "1" * 12))
    for folder in (abandoned, recent):
        folder.mkdir()
        (folder / "part").write_text("left by a save that was killed")
    os.utime(abandoned / "part", (0, 0))
    models["cleaner"].write().overwrite().save(str(path))
    loaded = ClickLogCleanerModel.load(str(path))
    assert loaded._state() == models["cleaner"]._state()
    assert not abandoned.exists()
    # Perhaps a save elsewhere that is not done yet.
    assert recent.exists()
    assert len(visible(path)) == 3
    assert {p.name for p in path.iterdir() if p.name[0] != "."} <= {"metadata", "versions"}


@pytest.mark.parametrize("before", ["nothing", "ours", "Spark ML's"])
def test_spark_ml_reads_a_pipeline(
    models: dict[str, Any], spark: Any, tmp_path: Path, before: str
) -> None:
    indexer = StringIndexer(inputCol="site", outputCol="index").fit(click_rows(spark))
    pipeline = PipelineModel([indexer, PipelineModel([models["encoder"]])])
    if before == "ours":
        spark_ctr.save(pipeline, str(tmp_path / "model"))
    elif before != "nothing":
        pipeline.write().save(str(tmp_path / "model"))
    spark_ctr.save(pipeline, str(tmp_path / "model"), overwrite=True)
    folders = {p.name[:14] for p in (tmp_path / "model" / "stages").iterdir()}
    assert len(folders) == 2, "one folder a stage, of the new save alone"
    for load in (PipelineModel.load, spark_ctr.load):
        loaded = load(str(tmp_path / "model"))
        assert loaded.uid == pipeline.uid
        assert loaded.stages[0].labels == indexer.labels
        assert loaded.stages[1].stages[0].uid == models["encoder"].uid
    with pytest.raises(ModelFileError, match="already exists.*overwrite=True"):
        spark_ctr.save(pipeline, str(tmp_path / "model"))


def test_a_path_that_cannot_be_written_is_named(
    models: dict[str, Any], spark: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelFileError, match="cannot save HashedEmbeddingEncoderModel") as error:
        models["encoder"].save(f"{tmp_path}/file/model")
    assert f"{tmp_path}/file/model" in str(error.value)
    assert len(str(error.value)) < 600
    assert error.value.__cause__ is None and error.value.__suppress_context__


@pytest.mark.parametrize("name", ["m[1]", "m{1,2}", "a*b?", "back\\slash", "a b%20#ü"])
def test_awkward_paths(models: dict[str, Any], spark: Any, tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"
    (tmp_path / "m1").mkdir()  # what the pattern m[1] would match
    models["encoder"].save(path)
    spark_ctr.save(models["cleaner"], path, overwrite=True)
    assert ClickLogCleanerModel.load(path)._state() == models["cleaner"]._state()
    assert len(visible(Path(path))) == 2
