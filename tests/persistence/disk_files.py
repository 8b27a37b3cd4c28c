"""Files of saved models without Spark, for tests that save and load hundreds of times."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml.util import BaseReadWrite

from spark_ctr.stage import persistence, whole_model
from spark_ctr.stage.model_files import METADATA, Line


class DiskFiles:
    """What `ModelFiles` does through Spark, on the local disk."""

    def __init__(self, spark: Any, path: str) -> None:
        self.spark, self.path = spark, path.rstrip("/")

    def lines(self) -> list[Line]:
        return [
            Line(file.name, text, self.path)
            for file in sorted(Path(self.path, METADATA).glob("[!._]*"))
            for text in file.read_text().splitlines()
        ]

    def add_line(self, text: str) -> None:
        file = Path(self.path, METADATA, f"part-{uuid.uuid4().hex}.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")

    def add_rows(self, folder: str, rows: Sequence[tuple[str, int, bytearray]]) -> None:
        file = Path(self.path, folder, f"part-{uuid.uuid4().hex}.parquet")
        file.parent.mkdir(parents=True, exist_ok=True)
        names, parts, data = zip(*rows, strict=True)
        schema = pa.schema([("name", pa.string()), ("part", pa.int32()), ("data", pa.binary())])
        columns = [list(names), list(parts), [bytes(one) for one in data]]
        pq.write_table(pa.table(columns, schema=schema), file)

    def rows(self, folder: str, most: int, longest: int) -> list[Any]:
        found: list[Any] = []
        for file in sorted(Path(self.path, folder).glob("[!._]*")):
            found += pq.ParquetFile(file).read().to_pylist()
        if not Path(self.path, folder).exists():
            raise FileNotFoundError(folder)
        return [row for row in found if len(row["data"]) <= longest][:most]

    def remove(self, name: str) -> None:
        target = Path(self.path, name)
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)

    def written(self, root: str) -> dict[str, float]:
        return {
            str(file.relative_to(root)): file.stat().st_mtime
            for file in Path(root).rglob("[!._]*")
            if file.is_file()
        }


@contextmanager
def without_spark() -> Iterator[None]:
    """Save and load on the local disk in this block."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for module in (persistence, whole_model):
            monkeypatch.setattr(module, "ModelFiles", DiskFiles)
        session = SimpleNamespace(version="4.0.0")
        monkeypatch.setattr(BaseReadWrite, "sparkSession", session)
        yield
