"""Resolve a path or URL to a filesystem and the data files under it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs


@dataclass(frozen=True)
class Location:
    """Data files of one directory (or one file), ordered by name.

    Attributes
    ----------
    filesystem : pyarrow.fs.FileSystem
    files : tuple of str
        Paths within ``filesystem``.
    urls : tuple of str
        The same files as unescaped URLs, the form Petastorm takes.
    """

    filesystem: fs.FileSystem
    files: tuple[str, ...]
    urls: tuple[str, ...]


def locate(path_or_url: str | os.PathLike[str]) -> Location:
    """Find the data files, not looking into subdirectories.

    Names starting with ``_`` or ``.`` (``_SUCCESS``, ``.part-0.crc``) are not data.

    Parameters
    ----------
    path_or_url : str or os.PathLike
        Local path, ``file:`` URL, or a URI known to pyarrow (s3, gs, hdfs) or to fsspec.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path_or_url``.
    """
    given = os.fspath(path_or_url)
    filesystem, path, url = filesystem_of(given)
    info = filesystem.get_file_info(path)
    if info.type == fs.FileType.NotFound:
        raise FileNotFoundError(f"no such file or directory: {given}")
    if info.type == fs.FileType.File:
        return Location(filesystem, (path,), (url,))
    entries = [
        entry
        for entry in filesystem.get_file_info(fs.FileSelector(path))
        if entry.type == fs.FileType.File and not entry.base_name.startswith(("_", "."))
    ]
    entries.sort(key=lambda entry: entry.base_name)
    return Location(
        filesystem,
        tuple(entry.path for entry in entries),
        tuple(f"{url}/{entry.base_name}" for entry in entries),
    )


def filesystem_of(given: str) -> tuple[fs.FileSystem, str, str]:
    """Filesystem, path within it, and unescaped URL without a trailing slash.

    Spark takes the characters of a ``file:`` URL as they are, and so does this; only where
    nothing has that name, percent escapes are read as ``pathlib`` writes them.
    """
    if "://" not in given and not given.startswith("file:"):
        return _local(given)
    if given.startswith("file:"):
        path = "/" + given.removeprefix("file:").removeprefix("//").lstrip("/")
        return _local(path if os.path.exists(path) else unquote(path))
    url = given.rstrip("/")
    try:
        filesystem, path = fs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        import fsspec  # comes with torch; only schemes unknown to pyarrow need it

        wrapped, path = fsspec.core.url_to_fs(url)
        filesystem = fs.PyFileSystem(fs.FSSpecHandler(wrapped))
    return filesystem, path, url


def _local(path: str) -> tuple[fs.FileSystem, str, str]:
    path = os.path.abspath(path)
    return fs.LocalFileSystem(), path, f"file://{path}"
