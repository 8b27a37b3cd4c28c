"""Put a model in a folder, or in the place of another one, in one step."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from spark_ctr.stage.model_errors import ModelFileError, is_full, reason_of, room
from spark_ctr.stage.model_files import METADATA, Line, ModelFiles
from spark_ctr.stage.model_record import (
    Record,
    content_folder,
    line_of,
    new_save_id,
    parse,
    seal,
)

logger = logging.getLogger("spark_ctr")

# A save elsewhere that is not done yet writes more often; killed ones are older in the end.
_STALE_SECONDS = 3600.0
_CONTENT = re.compile(r"(?:versions/|stages/\d+_)([0-9a-f]{12})/")
# What other writers left, one by one where folders of ours lie beside them.
_OTHER = re.compile(r"(?:(?:versions|stages)/)?[^/]+")


class Replacement:
    """A save in progress: write content, then :meth:`publish` it.

    Left by an error, it removes what it wrote. Left by the end of the process, it leaves content
    that no record names, which a later overwriting save removes.

    Parameters
    ----------
    files : ModelFiles
    what : str
        What is saved, for messages.
    overwrite : bool
        Whether a model may be there.

    Attributes
    ----------
    save_id : str
        Names the folders of the content.
    """

    def __init__(self, files: ModelFiles, what: str, overwrite: bool) -> None:
        self.save_id = new_save_id()
        self._files, self._what, self._overwrite = files, what, overwrite
        self._needed = 0
        self._earlier: list[Line] = []
        self._folders = [content_folder(self.save_id)]

    def needs(self, size: int) -> None:
        """Say how many bytes are about to be written, for messages."""
        self._needed += size

    def owns(self, folder: str) -> None:
        """Name a folder of content beside the usual one."""
        self._folders.append(folder)

    def __enter__(self) -> Replacement:
        """Look at what is there."""
        with self.writing(METADATA):
            self._earlier = self._files.lines()
            if self._earlier and not self._overwrite:
                raise ModelFileError(
                    f"cannot save {self._what}: {self._files.path} already exists; choose another "
                    "path, or overwrite it: write().overwrite().save(path), or "
                    "spark_ctr.save(model, path, overwrite=True)"
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what was written where the save failed."""
        if isinstance(error, Exception):
            for folder in self._folders:
                self._remove(folder)

    @contextmanager
    def writing(self, part: str) -> Iterator[None]:
        """Say what was being written, and where, in whatever goes wrong."""
        try:
            yield
        except ModelFileError:
            raise
        except Exception as error:  # Spark raises different types on classic, Connect, by version
            reason = reason_of(error)
            if is_full(reason):
                reason += f" ({room(self._files.path, self._needed)})"
            kept = "; the model that was there is as it was" if self._earlier else ""
            raise ModelFileError(
                f"cannot save {self._what}: writing {part} to {self._files.path} failed: "
                f"{reason}{kept}"
            ) from None

    def publish(self, metadata: dict[str, Any], own: dict[str, Any]) -> str:
        """Make the content the model, then remove the model before; returns the checksum."""
        earlier = [self._parsed(line) for line in self._earlier]
        generation = max((record.generation for record in earlier if record), default=-1) + 1
        sealed = seal(metadata, {"save": self.save_id, "generation": generation, **own})
        with self.writing(METADATA):
            self._files.add_line(line_of(sealed, self._earlier))
        if self._earlier:
            self._clear([record.save_id for record in earlier if record and record.save_id])
        return sealed["checksum"]

    def _parsed(self, line: Line) -> Record | None:
        """Parse a line that is about to be replaced, so that no damage matters."""
        try:
            found = parse(line, self._files.path)
        except ModelFileError:
            return None
        return found if isinstance(found, Record) else None

    def _clear(self, replaced: list[str]) -> None:
        """Remove earlier content, then the lines that name it."""
        try:
            written = self._files.written(self._earlier[0].root)
        except Exception as error:  # as above; the new model is in place
            logger.warning("could not look for replaced files: %s", reason_of(error))
            return
        newest = max(written.values(), default=0.0)
        folders: dict[str, float] = {}
        for path, time in written.items():
            content = _CONTENT.match(path)
            name = (content or _OTHER.match(path))[0].rstrip("/")  # type: ignore[index]
            if name == METADATA or (content and content[1] == self.save_id):
                continue
            old = not content or content[1] in replaced
            folders[name] = max(folders.get(name, 0.0), 0.0 if old else time)
        gone = {name for name, time in folders.items() if time < newest - _STALE_SECONDS}
        kept = {p.split("/")[0] for p in written if gone.isdisjoint(_folders_of(p))}
        for name in sorted({n if (top := n.split("/")[0]) in kept else top for n in gone}):
            self._remove(name)
        for file in sorted({line.file for line in self._earlier}):
            self._remove(f"{METADATA}/{file}")

    def _remove(self, name: str) -> None:
        try:
            self._files.remove(name)
        except Exception as error:  # as above; what is left is never read
            logger.warning("could not remove %s/%s: %s", self._files.path, name, reason_of(error))


def _folders_of(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:depth]) for depth in (1, 2)}
