"""Checkpoints of a training run: atomic, checked, and only for the same run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import time
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
_SUFFIX = ".safetensors"
_WRITING = ".writing-"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it was read: JSON-able state and tensors by name, on the CPU."""

    state: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """Checkpoints of runs in a folder, a subfolder each.

    A file is written under another name first and then renamed, so that a checkpoint is there in
    whole or not at all. Its name ends with a part of its SHA-256, which tells a damaged file.

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

    def write(self, steps: int, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Write a checkpoint and drop all but the last two.

        Raises
        ------
        OSError
            If the folder cannot be written; says how much room it takes where the disk is full.
        """
        free = free_bytes(self._folder)
        try:
            self._write(steps, state, tensors)
        except (OSError, SafetensorError, pa.ArrowException) as error:
            if not is_full_disk(error):
                raise
            taken = sum(t.numel() * t.element_size() for t in tensors.values())
            what = f"a checkpoint of {size(taken)} (the last {_KEPT} are kept)"
            needed = (_KEPT + 1) * taken
            raise full_disk(what, self._subfolder, "checkpointDir", needed, free) from error

    def _write(self, steps: int, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        self._filesystem.create_dir(self._subfolder, recursive=True)
        self._drop_unfinished()
        with tempfile.TemporaryDirectory(**self._beside()) as scratch:
            local = os.path.join(scratch, "checkpoint")
            save_file(separate(tensors), local, {"state": json.dumps(state)})
            name = f"step-{steps:012d}-{_digest(local)}{_SUFFIX}"
            self._publish(local, f"{self._subfolder}/{name}")
        for old in self._files()[:-_KEPT]:
            self._filesystem.delete_file(f"{self._subfolder}/{old}")
        self._written = time.monotonic()

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
        with tempfile.TemporaryDirectory() as scratch:
            local = path
            try:
                if not isinstance(self._filesystem, fs.LocalFileSystem):
                    local = os.path.join(scratch, "checkpoint")
                    fs.copy_files(path, local, self._filesystem, fs.LocalFileSystem())
                if _digest(local) != digest:
                    return None
                with open(local, "rb") as file:
                    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
                return Checkpoint(json.loads(header["__metadata__"]["state"]), load_file(local))
            except (OSError, pa.ArrowException, SafetensorError, ValueError, KeyError):
                return None

    def _files(self) -> list[str]:
        names = [info.base_name for info in self._entries(self._subfolder)]
        return sorted(n for n in names if n.endswith(_SUFFIX) and not n.startswith(_WRITING))

    def _entries(self, folder: str) -> list[fs.FileInfo]:
        return self._filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True))


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
