"""Checkpoints of a training run: atomic, checked, and only for the same run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from pyarrow import fs
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from spark_ctr.location import filesystem_of
from spark_ctr.networks.serialization import separate
from spark_ctr.training.disk_space import free_bytes, full_disk, is_full_disk, size
from spark_ctr.training.owners import has_owner, is_left_behind, owner

logger = logging.getLogger("spark_ctr")

_KEPT = 2
_STEP, _SHARD = "step-", "shard-"
_SUFFIX = ".safetensors"
_WRITING = ".writing-"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read: JSON-able state and tensors by name, on the CPU.

    `shards` are the names of the files with the rows of the tables that processes had a part of
    each.
    """

    state: dict[str, Any]
    tensors: dict[str, Tensor]
    shards: tuple[str, ...] = ()


class Checkpoints:
    """Checkpoints of runs in a folder, a subfolder each.

    A file is written under another name first and then renamed, so that a checkpoint is there in
    whole or not at all. Its name ends with a part of its SHA-256, which tells a damaged file. Where
    tables are spread over processes, each writes a file of its own before, which that of the first
    process names.

    Parameters
    ----------
    folder : str
        Path or URI, seen by all processes that train together.
    every_steps : int
        Steps between two checkpoints; 0 for none but those by time and after each epoch.
    every_seconds : float
        Longest time between two checkpoints; 0 for none by time.
    run : dict
        JSON-able facts that must be equal for a run to go on from a checkpoint, besides those
        that :meth:`open_run` is given: a digest of the data, say.
    """

    def __init__(
        self,
        folder: str,
        *,
        every_steps: int = 0,
        every_seconds: float = 0.0,
        run: dict[str, Any] | None = None,
    ) -> None:
        self._filesystem, self._folder, _ = filesystem_of(folder)
        self._every_steps = every_steps
        self._every_seconds = every_seconds
        self._run = run or {}
        self._subfolder = ""
        self._written = time.monotonic()

    def open_run(self, facts: dict[str, Any]) -> None:
        """Turn to the checkpoints of the run with these facts and those of the constructor."""
        text = json.dumps([self._run, facts], sort_keys=True)
        name = f"run-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        self._subfolder = f"{self._folder}/{name}"
        others = [info.base_name for info in self._entries(self._folder)]
        if others and name not in others:
            logger.info(
                "%s has checkpoints of %d other runs (other data or settings), none of this one: "
                "training starts from the beginning",
                self._folder,
                len(others),
            )

    def due(self, steps: int) -> bool:
        """Tell whether to write one after so many steps since the start."""
        by_steps = self._every_steps > 0 and steps % self._every_steps == 0
        elapsed = time.monotonic() - self._written
        return by_steps or (self._every_seconds > 0 and elapsed >= self._every_seconds)

    def write(
        self,
        steps: int,
        state: dict[str, Any],
        tensors: dict[str, Tensor],
        digests: Sequence[str] = (),
    ) -> None:
        """Write a checkpoint and drop all but the last two.

        Parameters
        ----------
        steps : int
        state : dict
            JSON-able.
        tensors : dict of str to Tensor
        digests : sequence of str
            What `write_shard` returned to each process, in their order.

        Raises
        ------
        OSError
            If the folder cannot be written; says how much room it takes where the disk is full.
        """
        shards = [_shard(steps, rank, len(digests), digest) for rank, digest in enumerate(digests)]
        described = {"state": json.dumps(state), "shards": json.dumps(shards)}
        self._checked(lambda: self._write(f"{_STEP}{steps:012d}-", described, tensors), tensors)
        self._drop_unfinished()
        self._drop_old()
        self._written = time.monotonic()

    def write_shard(self, steps: int, rank: int, size: int, tensors: dict[str, Tensor]) -> str:
        """Write one process's part of a checkpoint; return its digest.

        Raises
        ------
        OSError
            As `write`.
        """
        digest = self._checked(
            lambda: self._write(_shard(steps, rank, size, ""), {}, tensors), tensors
        )
        self._written = time.monotonic()
        return digest

    def shards_of(self, found: Checkpoint) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        """Yield rank, number of processes and tensors of each part of a checkpoint."""
        for name in found.shards:
            _, _, rank, _, size, _ = name.removesuffix(_SUFFIX).split("-")
            with self._local(f"{self._subfolder}/{name}") as local:
                yield int(rank), int(size), load_file(local)

    def _checked(self, write: Callable[[], str], tensors: dict[str, Tensor]) -> str:
        free = free_bytes(self._folder)
        try:
            return write()
        except (OSError, SafetensorError, pa.ArrowException) as error:
            if not is_full_disk(error):
                raise
            taken = sum(t.numel() * t.element_size() for t in tensors.values())
            what = f"a checkpoint of {size(taken)} (the last {_KEPT} are kept)"
            needed = (_KEPT + 1) * taken
            raise full_disk(what, self._subfolder, "checkpointDir", needed, free) from error

    def _write(self, prefix: str, metadata: dict[str, str], tensors: dict[str, Tensor]) -> str:
        self._filesystem.create_dir(self._subfolder, recursive=True)
        with tempfile.TemporaryDirectory(**self._beside()) as scratch:
            local = os.path.join(scratch, "checkpoint")
            save_file(separate(tensors), local, metadata)
            digest = _digest(local)
            self._publish(local, f"{self._subfolder}/{prefix}{digest}{_SUFFIX}")
        return digest

    def _drop_old(self) -> None:
        files = self._files()
        old, kept = files[:-_KEPT], files[-_KEPT:]
        first = f"{_SHARD}{kept[0].split('-')[1]}"
        shards = [info.base_name for info in self._entries(self._subfolder)]
        # Those of other runs of the same steps, and of killed ones, go with those they came before.
        old += [name for name in shards if name.startswith(_SHARD) and name < first]
        for name in old:
            self._filesystem.delete_file(f"{self._subfolder}/{name}")

    def latest(self) -> Checkpoint | None:
        """Read the newest intact checkpoint of the run; None if there is none.

        A damaged one is passed over with a warning.
        """
        for name in reversed(self._files()):
            path = f"{self._subfolder}/{name}"
            found = self._read(path, name.removesuffix(_SUFFIX).rpartition("-")[2])
            if found is not None:
                logger.info("training goes on from checkpoint %s", path)
                return found
            logger.warning("checkpoint %s is damaged: going on from the one before", path)
        return None

    def _drop_unfinished(self) -> None:
        """Remove what a killed writer left, and not what another thread is writing."""
        for info in self._entries(self._subfolder):
            name = info.base_name
            if not name.startswith(_WRITING) or (has_owner(name) and not is_left_behind(name)):
                continue
            if info.type == fs.FileType.Directory:
                self._filesystem.delete_dir(info.path)
            else:
                self._filesystem.delete_file(info.path)

    def _beside(self) -> dict[str, Any]:
        """Keep the scratch file on the local target's own disk: a rename there is atomic."""
        if isinstance(self._filesystem, fs.LocalFileSystem):
            return {"dir": self._subfolder, "prefix": f"{_WRITING}{owner()}-"}
        return {}

    def _publish(self, local: str, path: str) -> None:
        if isinstance(self._filesystem, fs.LocalFileSystem):
            with open(local, "rb") as file:
                os.fsync(file.fileno())
            os.replace(local, path)
            return
        folder, _, name = path.rpartition("/")
        unfinished = f"{folder}/{_WRITING}{owner()}-{name}"
        fs.copy_files(local, unfinished, fs.LocalFileSystem(), self._filesystem, use_threads=False)
        self._filesystem.move(unfinished, path)

    def _read(self, path: str, digest: str) -> Checkpoint | None:
        try:
            with self._local(path) as local:
                if _digest(local) != digest:
                    return None
                with open(local, "rb") as file:
                    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                described = header["__metadata__"]
                shards = tuple(json.loads(described.get("shards", "[]")))
                if not all(self._is_intact(name) for name in shards):
                    return None
                return Checkpoint(json.loads(described["state"]), load_file(local), shards)
        except (OSError, pa.ArrowException, SafetensorError, ValueError, KeyError):
            return None

    def _is_intact(self, name: str) -> bool:
        with self._local(f"{self._subfolder}/{name}") as local:
            return _digest(local) == name.removesuffix(_SUFFIX).rpartition("-")[2]

    @contextmanager
    def _local(self, path: str) -> Iterator[str]:
        """Have a file of the folder on a local disk inside the context."""
        if isinstance(self._filesystem, fs.LocalFileSystem):
            yield path
            return
        with tempfile.TemporaryDirectory() as scratch:
            local = os.path.join(scratch, "checkpoint")
            fs.copy_files(path, local, self._filesystem, fs.LocalFileSystem())
            yield local

    def _files(self) -> list[str]:
        names = [info.base_name for info in self._entries(self._subfolder)]
        return sorted(n for n in names if n.endswith(_SUFFIX) and n.startswith(_STEP))

    def _entries(self, folder: str) -> list[fs.FileInfo]:
        return self._filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))


def _shard(steps: int, rank: int, size: int, digest: str) -> str:
    """Name of a part; without a digest what comes before it."""
    return f"{_SHARD}{steps:012d}-{rank}-of-{size}-{digest}" + (_SUFFIX if digest else "")


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest_of(tensors: dict[str, Tensor]) -> str:
    """Return a SHA-256 over names and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return digest.hexdigest()
