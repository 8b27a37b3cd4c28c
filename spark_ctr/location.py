"""Resolve a path or URL to a filesystem and the data files under it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa
from pyarrow import fs


@dataclass(frozen=True)
class Location:
    """Data files of one directory (or one file), ordered by path.

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
    """Find the data files, in subfolders ``name=value`` too, in the order of their paths.

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
    below = _data_files(filesystem, path)
    names = sorted(below)
    return Location(
        filesystem,
        tuple(below[name] for name in names),
        tuple(f"{url}/{name}" for name in names),
    )


def _data_files(filesystem: fs.FileSystem, folder: str, prefix: str = "") -> dict[str, str]:
    """Paths of the data files under a folder, by what their paths add to the first folder's."""
    found: dict[str, str] = {}
    for entry in filesystem.get_file_info(fs.FileSelector(folder)):
        name = entry.base_name
        if name.startswith(("_", ".")):
            continue
        if entry.type == fs.FileType.File:
            found[f"{prefix}{name}"] = entry.path
        elif entry.type == fs.FileType.Directory and "=" in name:
            found |= _data_files(filesystem, entry.path, f"{prefix}{name}/")
    return found


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


def read_file(path_or_url: str) -> bytes:
    """Return what a file holds."""
    filesystem, path, _ = filesystem_of(path_or_url)
    with filesystem.open_input_stream(path) as file:
        return file.read()


def write_file(path_or_url: str, data: bytes) -> None:
    """Write a file, and the folder that it lies in."""
    filesystem, path, _ = filesystem_of(path_or_url)
    filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    with filesystem.open_output_stream(path) as file:
        file.write(data)
