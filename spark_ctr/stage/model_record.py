"""The line that makes a saved model: which content is its, with checksums.

A model's folder holds content in subfolders that no two saves share, and ``metadata/`` with one
line of JSON for each save. The line comes last and in one step, and the one of the highest
generation counts: a save that ends early leaves the model that was there, or none. Then the content
and the lines of earlier saves go.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spark_ctr.stage.model_errors import ModelFileError, part_of_model
from spark_ctr.stage.model_files import METADATA, Line, ModelFiles
from spark_ctr.version import __version__

# Format 1 has one line, and its content beside it.
FORMAT_VERSION = 2
_KEY = "sparkCtr"


@dataclass(frozen=True)
class Record:
    """A checked line of metadata.

    Attributes
    ----------
    metadata : dict
        As Spark ML writes it, with our own part under "sparkCtr".
    line : Line
    """

    metadata: dict[str, Any]
    line: Line

    @property
    def own(self) -> dict[str, Any]:
        """Our part of the metadata."""
        return self.metadata[_KEY]

    @property
    def class_name(self) -> str:
        """Import path of the saved class."""
        return self.metadata["class"]

    @property
    def checksum(self) -> str:
        """Digest of the metadata."""
        return self.metadata["checksum"]

    @property
    def save_id(self) -> str:
        """Name of the save, empty in format 1."""
        return self.own.get("save", "")

    @property
    def generation(self) -> int:
        """How many saves came before."""
        return self.own.get("generation", 0)

    @property
    def folder(self) -> str:
        """Folder of the content, within the model's, with a slash behind it."""
        return f"{content_folder(self.save_id)}/" if self.save_id else ""


def new_save_id() -> str:
    """Return a name that no other save has."""
    return uuid.uuid4().hex[:12]


def content_folder(save_id: str) -> str:
    """Folder of what a save writes."""
    return f"versions/{save_id}"


def seal(metadata: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return metadata with our part, format, version and checksum."""
    whole = metadata | {_KEY: {"formatVersion": FORMAT_VERSION, "version": __version__, **own}}
    return whole | {"checksum": checksum(whole)}


def line_of(metadata: dict[str, Any], earlier: Sequence[Line]) -> str:
    """Return the line of sealed metadata.

    It is longer than the earlier lines: Spark reads the longest file first, so that Spark ML's
    readers, which take the first line they get, take this one while earlier ones are still there.
    """
    text = json.dumps(metadata, separators=(",", ":"))
    return text.ljust(max((len(line.text) for line in earlier), default=-1) + 1)


def checksum(metadata: dict[str, Any]) -> str:
    """SHA-256 of all but the checksum itself."""
    content = {key: value for key, value in metadata.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def newest_record(files: ModelFiles) -> Record:
    """Read the record that counts.

    Raises
    ------
    ModelFileError
    """
    found = newest_metadata(files)
    if isinstance(found, Record):
        return found
    raise ModelFileError(
        f"{files.path}/{METADATA} is not of a spark_ctr model: '{_KEY}' is missing; it is of a "
        f"{found['class']}"
    )


def newest_metadata(files: ModelFiles) -> Record | dict[str, Any]:
    """Read the record that counts; the metadata alone where Spark ML's own writers made them.

    Raises
    ------
    ModelFileError
    """
    place = f"{files.path}/{METADATA}"
    with part_of_model(f"cannot read {place}"):
        lines = files.lines()
    if not lines:
        raise ModelFileError(
            f"{place} holds no model: the path is wrong, or a save did not come to its end"
        )
    parsed = [parse(line, place) for line in lines]
    records = [found for found in parsed if isinstance(found, Record)]
    if not records:
        return parsed[0]
    return max(records, key=lambda record: (record.generation, record.save_id))


def parse(line: Line, place: str) -> Record | dict[str, Any]:
    """Check one line; the metadata alone where Spark ML's own writers made it.

    Raises
    ------
    ModelFileError
        If it is truncated, altered, of a newer format, or says what no writer writes.
    """
    try:
        metadata = json.loads(line.text)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{place} is truncated or not a spark_ctr stage: {error}") from None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("class"), str):
        raise ModelFileError(f"{place} is truncated or not a spark_ctr stage: it names no class")
    if _KEY not in metadata:
        return metadata
    own = metadata[_KEY]
    version: Any = own.get("formatVersion") if isinstance(own, dict) else None
    if type(version) is not int or version < 1:
        raise ModelFileError(f"{place} has no valid format version: {version!r}")
    if version > FORMAT_VERSION:
        raise ModelFileError(
            f"{place} has format version {version}, this spark_ctr {__version__} reads up to "
            f"{FORMAT_VERSION}; upgrade spark_ctr"
        )
    if metadata.get("checksum") != checksum(metadata):
        raise ModelFileError(f"{place} was altered after saving: its checksum does not match")
    save_id: Any = own.get("save", "")
    generation: Any = own.get("generation", 0)
    named = isinstance(save_id, str) and re.fullmatch("[0-9a-f]{12}", save_id)
    counted = type(generation) is int and generation >= 0
    if not (named if version > 1 else save_id == "") or not counted:
        raise ModelFileError(f"{place} names no valid save: {save_id!r}, {generation!r}")
    return Record(metadata, line)
