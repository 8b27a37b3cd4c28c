"""Saved stages: loaded in a fresh process, damaged in every file, and free of pickles."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_rows import rows_of
from load_saved import described
from stages import CASES, PARAMS_ONLY, Case, sparing

from spark_ctr.stage.persistence import FORMAT_VERSION, ModelFileError

Saved = Callable[[Case, str], Path]
KINDS = pytest.mark.parametrize("kind", ["stage", "model"])
# A stage without a payload and a model with one: the files of all are read by the same code.
READ = (("ClickLogCleaner", "stage"), ("CTRClassifier", "model"))
REPOSITORY = Path(__file__).parents[2]


def _loader(case: Case, kind: str) -> type:
    return case.stage if kind == "stage" else case.model


def _public(cls: type) -> str:
    return f"{'.'.join(cls.__module__.split('.')[:2])}:{cls.__name__}"


@pytest.mark.once
def test_loads_in_a_fresh_process_on_connect(
    saved: Saved, clicks: Any, fitted: Callable[[Case], Any], connect_server: str, tmp_path: Path
) -> None:
    manifest = []
    for case in CASES:
        data = getattr(clicks, case.data)
        wanted = rows_of(fitted(case).transform(data))
        (tmp_path / f"{case.name}.json").write_text(json.dumps(wanted, default=str))
        for kind in ("stage", "model"):
            # Params are read from the saved object, not from a second one: uids are random.
            path = saved(case, kind)
            loaded = _loader(case, kind).load(str(path))
            manifest.append(
                {
                    "class": _public(_loader(case, kind)),
                    "path": str(path),
                    "described": described(loaded),
                }
            )
        assert described(loaded) == described(fitted(case))
        manifest[-1] |= {
            "input": data.inputFiles()[0].rpartition("/")[0],
            "output": f"{tmp_path}/{case.name}.json",
        }
    for make in PARAMS_ONLY:
        stage = make()
        stage.save(f"{tmp_path}/{stage.uid}")
        manifest.append(
            {
                "class": _public(type(stage)),
                "path": f"{tmp_path}/{stage.uid}",
                "described": described(stage),
            }
        )
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("load_saved.py")), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "SPARK_REMOTE": connect_server},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-3000:]
    assert f"loaded {len(manifest)} stages" in child.stdout


def test_saved_stage_is_what_was_saved(case: Case, tmp_path: Path) -> None:
    stage = case.make(str)
    stage.save(f"{tmp_path}/stage")
    assert described(type(stage).load(f"{tmp_path}/stage")) == described(stage)


def test_save_refuses_to_overwrite_unless_asked(case: Case, tmp_path: Path) -> None:
    first, second = case.make(str), case.make(str)
    first.save(f"{tmp_path}/stage")
    with pytest.raises(Exception, match="(?i)exist"):
        second.save(f"{tmp_path}/stage")
    second.write().overwrite().save(f"{tmp_path}/stage")
    assert case.stage.load(f"{tmp_path}/stage").uid == second.uid


def test_unset_stage_survives(case: Case, tmp_path: Path) -> None:
    stage = case.stage()
    stage.save(f"{tmp_path}/stage")
    assert described(case.stage.load(f"{tmp_path}/stage")) == described(stage)


def test_another_class_is_refused(case: Case, saved: Saved) -> None:
    with pytest.raises(ModelFileError, match=f"{case.name}.load"):
        case.model.load(str(saved(case, "stage")))


def _copy(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for checksum in copy.rglob(".*.crc"):
        checksum.unlink()  # Hadoop's own check would hide ours
    return copy


def _content(folder: Path) -> Path:
    """Return the folder of what the model's only save wrote."""
    (content,) = (folder / "versions").iterdir()
    return content


def _part(folder: Path, name: str) -> Path:
    return folder / name if name == "metadata" else _content(folder) / name


def _file(folder: Path) -> Path:
    return next(path for path in folder.glob("part-*") if path.stat().st_size)


def _metadata(change: Callable[[str], str]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = _file(folder / "metadata")
        text = file.read_text()
        assert change(text) != text
        file.write_text(change(text))

    return damage


def _payload(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Any:
    def damage(folder: Path) -> None:
        file = _file(_part(folder, "payload"))
        table = pq.read_table(file)
        rows = change(table.to_pylist())
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)

    return damage


def _flip(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    data = bytearray(rows[0]["data"])
    data[-1] ^= 1
    return [rows[0] | {"data": bytes(data)}, *rows[1:]]


def _cut(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rows[0] | {"data": rows[0]["data"][:-5]}, *rows[1:]]


def _half(part: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = _file(_part(folder, part))
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])

    return damage


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "metadata missing": ("metadata", lambda folder: shutil.rmtree(folder / "metadata")),
    "metadata empty": ("metadata", lambda folder: _file(folder / "metadata").unlink()),
    "metadata truncated": ("metadata", _half("metadata")),
    "metadata altered": ("metadata", _metadata(lambda t: t.replace('"uid":"', '"uid":"x'))),
    "metadata not ours": ("metadata", _metadata(lambda t: t.replace("sparkCtr", "other"))),
    "payload missing": ("payload", lambda folder: shutil.rmtree(_part(folder, "payload"))),
    "payload empty": ("payload", lambda folder: _file(_part(folder, "payload")).unlink()),
    "payload file truncated": ("payload", _half("payload")),
    "payload shortened": ("payload", _payload(_cut)),
    "payload altered": ("payload", _payload(_flip)),
    "payload row missing": ("payload", _payload(lambda rows: rows[1:])),
}
EACH_DAMAGE = pytest.mark.parametrize(
    ("case", "kind", "damage"),
    sparing(
        (
            (case, kind, damage)
            for case in CASES
            for kind in ("stage", "model")
            for damage in DAMAGE
            # A stage, and the cleaner's model, have no payload but their metadata.
            if damage.startswith("metadata") or (kind == "model" and case.name != "ClickLogCleaner")
        ),
        lambda case, kind, damage: (case.name, kind) not in READ,
    ),
    ids=lambda part: part.name if isinstance(part, Case) else part,
)


@EACH_DAMAGE
def test_damaged_file_is_named(
    case: Case, kind: str, damage: str, saved: Saved, tmp_path: Path
) -> None:
    folder = _copy(saved(case, kind), tmp_path)
    part, inflict = DAMAGE[damage]
    damaged = _part(folder, part)
    inflict(folder)
    with pytest.raises(ModelFileError, match=re.escape(str(damaged))):
        _loader(case, kind).load(str(folder))


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.nested], ids=lambda case: case.name
)
def test_damaged_nested_stage_is_named(case: Case, saved: Saved, tmp_path: Path) -> None:
    folder = _copy(saved(case, "stage"), tmp_path)
    for param, _ in case.nested:
        nested = _content(folder) / param
        _half("metadata")(nested)
        with pytest.raises(ModelFileError, match=re.escape(f"{nested}/metadata")):
            case.stage.load(str(folder))


@pytest.mark.parametrize(
    ("case", "kind"),
    sparing(
        ((case, kind) for case in CASES for kind in ("stage", "model")),
        lambda *parts: (parts[0].name, parts[1]) not in READ,
    ),
    ids=lambda part: part.name if isinstance(part, Case) else part,
)
def test_newer_format_is_refused(case: Case, kind: str, saved: Saved, tmp_path: Path) -> None:
    folder = _copy(saved(case, kind), tmp_path)
    file = _file(folder / "metadata")
    metadata = json.loads(file.read_text())
    metadata["sparkCtr"]["formatVersion"] = FORMAT_VERSION + 1
    del metadata["checksum"]
    canonical = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    metadata["checksum"] = hashlib.sha256(canonical.encode()).hexdigest()
    file.write_text(json.dumps(metadata))
    with pytest.raises(ModelFileError, match="upgrade spark_ctr") as error:
        _loader(case, kind).load(str(folder))
    assert f"{folder}/metadata" in str(error.value)
    assert str(FORMAT_VERSION + 1) in str(error.value)


@KINDS
def test_files_hold_no_pickle(case: Case, kind: str, saved: Saved) -> None:
    pickled = re.compile(rb"\x80[\x02-\x05](\x95|[\]})(cKX])|PK\x03\x04|pickle|torch\._utils")
    files = [path for path in saved(case, kind).rglob("*") if path.is_file()]
    assert len(files) >= 2
    for path in files:
        parts = [path.read_bytes()]
        if path.suffix == ".parquet":
            parts += [row["data"] for row in pq.read_table(path).to_pylist()]
        for content in parts[-1:] if len(parts) > 1 else parts:
            assert not pickled.search(content), path
