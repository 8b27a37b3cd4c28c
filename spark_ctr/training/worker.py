"""One process of a distributed training."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from pyarrow import fs

from spark_ctr.location import filesystem_of, read_file, write_file
from spark_ctr.networks.network import Network
from spark_ctr.networks.serialization import network_to_bytes, trusted_network_from_bytes
from spark_ctr.training.checkpoints import Checkpoints
from spark_ctr.training.device import device_of
from spark_ctr.training.feeds import open_feed, open_training_feed
from spark_ctr.training.losses.objective import Objective
from spark_ctr.training.progress import Progress, make_progress
from spark_ctr.training.ranks import Ranks
from spark_ctr.training.settings import TrainingSettings
from spark_ctr.training.trainer import train
from spark_ctr.training.training_run import Change, TrainingRun

_ERRORS = "errors"
_SUFFIX = ".safetensors"
_RAISED_AGAIN = {kind.__name__: kind for kind in (FloatingPointError, OSError, ValueError)}


@dataclass(frozen=True)
class Job:
    """What a process needs to know beside the files in the job's folder.

    Attributes
    ----------
    folder : str
        Seen by all processes: networks come and go through it, and so do errors.
    train_feed, unlabelled_feed, valid_feed : dict
        Arguments of `open_feed` but for the rank; None where there are no rows of the kind.
    settings : TrainingSettings
    terms : list of dict
        Of the `Objective`.
    frozen : list of str
        Names of its networks.
    change : Change or None
        Of the `TrainingRun`.
    checkpoints : dict
        Arguments of `Checkpoints`.
    threads : int
        Of torch, on a CPU.
    title : str or None
        Of the progress lines that the first process prints; None for silence.
    """

    folder: str
    train_feed: dict[str, Any]
    unlabelled_feed: dict[str, Any] | None
    valid_feed: dict[str, Any] | None
    settings: TrainingSettings
    terms: list[dict[str, Any]]
    frozen: list[str]
    change: Change | None
    checkpoints: dict[str, Any]
    threads: int
    title: str | None

    def leave(self, run: TrainingRun) -> None:
        """Write the networks that the processes start from."""
        write_file(f"{self.folder}/start{_SUFFIX}", network_to_bytes(run.network))
        for name, network in run.objective.frozen.items():
            write_file(f"{self.folder}/frozen-{name}{_SUFFIX}", network_to_bytes(network))

    def network(self, name: str) -> Network:
        """Read the network of the training, as of its "start" or its "result"."""
        return trusted_network_from_bytes(read_file(f"{self.folder}/{name}{_SUFFIX}"), self.change)

    def objective(self) -> Objective:
        """Read what to train for."""
        frozen = {
            name: trusted_network_from_bytes(read_file(f"{self.folder}/frozen-{name}{_SUFFIX}"))
            for name in self.frozen
        }
        return Objective.from_dicts(self.terms, frozen)

    def raise_first_error(self) -> None:
        """Raise what a process failed with, with its traceback, if one left word."""
        names = _names(self.folder, _ERRORS)
        found = [json.loads(read_file(f"{self.folder}/{_ERRORS}/{name}")) for name in names]
        if found:
            first = min(found, key=lambda error: error["time"])
            kind = _RAISED_AGAIN.get(first["kind"], RuntimeError)
            raise kind(
                f"{first['message']}\n\nTraceback of training worker {first['rank']}:\n"
                f"{first['traceback']}"
            )


def train_rank(job: Job) -> dict[str, Any]:
    """Train as one of the processes that torchrun started.

    The first process leaves the trained network in the job's folder.

    Returns
    -------
    dict
        ``history`` of the training, JSON-able, and ``feed``, the reader used.
    """
    _remove_log_folder()
    torch.set_num_threads(job.threads)
    device = device_of(job.settings.device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    ranks = Ranks.of_default_group(device)
    try:
        with _errors_told(job, ranks):
            network = job.network("start")
            rank: dict[str, Any] = {"rank": ranks.rank, "ranks": ranks.size}
            feed = open_training_feed(job.train_feed, job.unlabelled_feed, **rank)
            shown = job.title is not None and ranks.rank == 0
            history = train(
                network,
                feed,
                open_feed(**job.valid_feed, **rank) if job.valid_feed else None,
                job.settings,
                loss=job.objective().loss(network),
                progress=make_progress(title=job.title or "") if shown else Progress(),
                checkpoints=Checkpoints(**job.checkpoints),
                ranks=ranks,
            )
            if ranks.rank == 0:
                write_file(f"{job.folder}/result{_SUFFIX}", network_to_bytes(network))
            dist.barrier()
    finally:
        dist.destroy_process_group()
    atexit.register(_leave)
    return {"history": history.to_dict(), "feed": feed.kind}


def _remove_log_folder() -> None:
    """Remove the folder that torchrun makes for logs of its processes: it asks for none here."""
    path = Path(os.environ.get("TORCHELASTIC_ERROR_FILE", ""))
    for folder in path.parents:
        if folder.name.startswith("torchelastic_"):
            shutil.rmtree(folder, ignore_errors=True)


def _leave() -> None:
    """End the process at once: native threads have aborted processes that had done all work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def _errors_told(job: Job, ranks: Ranks) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not _is_lost_peer(error):
            told = {
                "kind": type(error).__name__,
                "message": str(error),
                "rank": ranks.rank,
                "time": time.time(),
                "traceback": traceback.format_exc(),
            }
            path = f"{job.folder}/{_ERRORS}/{ranks.rank}.json"
            write_file(path, json.dumps(told).encode())
        raise


def _is_lost_peer(error: Exception) -> bool:
    """Tell whether another process ended: that one has the reason, or Spark lost its executor."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or "gloo" in text or "nccl" in text


def _names(folder: str, subfolder: str) -> list[str]:
    filesystem, path, _ = filesystem_of(folder)
    found = filesystem.get_file_info(fs.FileSelector(f"{path}/{subfolder}", allow_not_found=True))
    return [info.base_name for info in found]
