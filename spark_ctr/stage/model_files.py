"""Files of a saved model through Spark alone: any file system, classic Spark and Connect."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from pyspark.ml.util import MLWriter
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from spark_ctr.stage.session import is_connect

METADATA = "metadata"
_NAMES = ("name", "part", "data")
# Spark warns of tasks above 1,000 KiB.
_MOST_LITERAL = 1 << 19
_PAYLOAD_SCHEMA = "name string, part int, data binary"


@dataclass(frozen=True)
class Line:
    """One line of a model's metadata, the file that holds it, and the model's absolute folder."""

    file: str
    text: str
    root: str


def literal_path(path: str) -> str:
    """Return a path as a pattern that matches it alone: Spark reads patterns, and writes paths."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)


class ModelFiles:
    """The folder of one saved model.

    Spark can add a file in one step (a rename, or one PUT on an object store) and remove one, but
    it cannot replace one. So what decides which content is the model's is a line that is added to
    ``metadata/`` when everything else is there; see :mod:`spark_ctr.stage.model_record`.

    Parameters
    ----------
    spark : SparkSession
    path : str
        Path or URI that Spark understands.
    """

    def __init__(self, spark: SparkSession, path: str) -> None:
        self.spark = spark
        self.path = path.rstrip("/") or path

    def lines(self) -> list[Line]:
        """Return the lines of the metadata; none where there is no such folder."""
        folder = literal_path(f"{self.path}/{METADATA}")
        try:
            # Of a single path that is not there, Spark logs a long trace; of two it does not.
            frame = self.spark.read.text([folder, folder])
            rows = frame.select("_metadata.file_path", "value").collect()
        except Exception as error:  # Spark raises different types on classic, Connect, by version
            if "PATH_NOT_FOUND" in str(error):
                return []
            raise
        lines = []
        for row in dict.fromkeys(rows):
            folder, _, file = unquote(row["file_path"]).rpartition("/")
            lines.append(Line(file, row["value"], folder.removesuffix(f"/{METADATA}")))
        return lines

    def add_line(self, text: str) -> None:
        """Add a line to the metadata in one step."""
        frame = self._one_row(F.lit(text).alias("value"))
        frame.write.mode("append").text(f"{self.path}/{METADATA}")

    def add_rows(self, folder: str, rows: Sequence[tuple[str, int, bytearray]]) -> None:
        """Add rows of payload to a folder."""
        if sum(len(data) for _, _, data in rows) > _MOST_LITERAL:
            frame = self.spark.createDataFrame(list(rows), _PAYLOAD_SCHEMA).coalesce(1)
        else:
            structs = [
                F.struct(*[F.lit(v).alias(n) for n, v in zip(_NAMES, row, strict=True)])
                for row in ((name, part, bytes(data)) for name, part, data in rows)
            ]
            frame = self._one_row(F.inline(F.array(*structs)))
        frame.write.mode("append").parquet(f"{self.path}/{folder}")

    def _one_row(self, column: Column) -> DataFrame:
        """Return a frame of constants: a third of the time of one made from Python's values."""
        return self.spark.range(0, 1, 1, 1).select(column)

    def rows(self, folder: str, most: int, longest: int) -> list[Any]:
        """Read payload: at most so many rows, each at most so long."""
        path = literal_path(f"{self.path}/{folder}")
        frame = self.spark.read.schema(_PAYLOAD_SCHEMA).parquet(path)
        return frame.where(F.length("data") <= longest).limit(most).collect()

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""
        path = f"{self.path}/{name}"
        if is_connect(self.spark):
            from pyspark.ml.connect.readwrite import RemoteMLWriter

            RemoteMLWriter.handleOverwrite(path, True)
        else:
            writer = MLWriter()
            writer.session(self.spark)
            writer._handleOverwrite(path)

    def written(self, root: str) -> dict[str, float]:
        """Return the time of each file below the model's folder, by its path in it, in seconds.

        Parameters
        ----------
        root : str
            The folder as Spark names it, from :class:`Line`.
        """
        reader = self.spark.read.format("binaryFile").option("recursiveFileLookup", "true")
        found = (
            reader.load(literal_path(self.path))
            .select("_metadata.file_path", F.col("_metadata.file_modification_time"))
            .select("file_path", F.unix_micros("file_modification_time").alias("micros"))
            .collect()
        )
        inside = [(unquote(row["file_path"]), row["micros"] / 1e6) for row in found]
        return {
            path.removeprefix(f"{root}/"): time
            for path, time in inside
            if path.startswith(f"{root}/")
        }
