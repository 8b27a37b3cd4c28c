"""Two workers, one of which is killed again and again, in every part of a step."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from benchmarks.frame import Record
from benchmarks.scaling_profile import CASES, WRAPPED, network_of, settings_of, write_case
from spark_ctr.training import trainer
from spark_ctr.training.batch_statistics import BatchStatistics
from spark_ctr.training.checkpoints import Checkpoints
from spark_ctr.training.feeds import open_feed
from spark_ctr.training.ranks import Ranks

CASE, ROWS, BATCH, EPOCHS = "small", 8192, 512, 10
# What is done once an epoch or a checkpoint.
RARE: list[tuple[Any, str]] = [
    (BatchStatistics, "_estimate"),
    (trainer._Run, "_end_epoch"),
    (Checkpoints, "write_shard"),
    (Checkpoints, "_publish"),
    (Checkpoints, "_drop_unfinished"),
]
OFTEN = [(owner, name) for owner, name, _ in WRAPPED if (owner, name) not in RARE]
# Every worker comes to each of them; whole tables have no rows to sum.
PHASES = [phase for phase in OFTEN if phase[1] != "_sum_rows"] + RARE
FIRST_ONLY = {"_drop_unfinished"}


def deadly(function: Callable[..., Any], calls: int, after: bool) -> Callable[..., Any]:
    """Return a function that kills its process at one of its calls, before or after it works."""
    left = calls

    def killing(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        found = function(*arguments, **named) if left or after else None
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return killing


def train_rank(rank: int, folder: str, attempt: int, kill: tuple[int, int, bool] | None) -> None:
    """Train as one of two, or be killed in a phase (its number, the rank, before or after)."""
    torch.set_num_threads(1)
    address = f"file://{folder}/store-{attempt}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    sizes, numeric, _, _ = CASES[CASE]
    arguments = {"n_ids": len(sizes), "n_numeric": numeric, "kind": "pyarrow", "seed": 0}
    arguments |= {"shuffle_buffer_rows": ROWS, "rank": rank, "ranks": 2}
    feed, valid = (
        open_feed(f"{folder}/{name}", batch_size=BATCH // 2, shuffle=name == "train", **arguments)
        for name in ("train", "valid")
    )
    network = network_of(CASE, 0)
    with ExitStack() as stack:
        if kill is not None and kill[1] == rank:
            owner, name = PHASES[kill[0]]
            found = vars(owner)[name]
            static = isinstance(found, staticmethod)
            calls = 1 if PHASES[kill[0]] in RARE else 5 + attempt % 3
            changed = deadly(found.__func__ if static else found, calls, kill[2])
            patched = staticmethod(changed) if static else changed
            stack.enter_context(mock.patch.object(owner, name, patched))
        history = trainer.train(
            network,
            feed,
            valid,
            replace(settings_of(BATCH, EPOCHS), patience=EPOCHS),
            checkpoints=Checkpoints(f"{folder}/checkpoints", every_steps=2),
            ranks=Ranks(rank, 2),
        )
    if rank == 0:
        found = {"weights": network.state_dict(), "history": history.epochs}
        torch.save(found | {"resumed": history.resumed_at}, f"{folder}/result.pt")
    dist.barrier()
    dist.destroy_process_group()


def trained(log: str, kills: int) -> dict[str, Any]:
    """Train with so many kills, started again after each; return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("train", "valid"):
            Path(folder, name).symlink_to(Path(log, name))
        died = 0
        for attempt in range(kills + 1):
            phase = attempt % len(PHASES)
            victim = 0 if PHASES[phase][1] in FIRST_ONLY else attempt % 2
            kill = (phase, victim, attempt % 4 < 2) if attempt < kills else None
            try:
                settings = (folder, attempt, kill)
                mp.start_processes(train_rank, settings, nprocs=2, start_method="forkserver")
            except mp.ProcessExitedException as error:
                died += error.exit_code == -signal.SIGKILL
            except mp.ProcessRaisedException:
                # The other process told of its lost peer before the end of that was seen.
                died += 1
            else:
                if attempt < kills:
                    raise RuntimeError(f"nothing came to {PHASES[phase][1]} in attempt {attempt}")
        return torch.load(f"{folder}/result.pt") | {"died": died}


def kills(count: int, seed: int) -> Iterator[Record]:
    """Yield how a training with kills ends beside one without."""
    # All processes share one import.
    mp.get_context("forkserver").set_forkserver_preload([__name__])
    with tempfile.TemporaryDirectory() as log:
        write_case(log, CASE, ROWS, seed)
        case = f"{count} kills"
        whole, killed = trained(log, 0), trained(log, count)
        for system, found in (("2 workers", whole), ("2 workers, killed", killed)):
            yield Record(case, system, "kills", found["died"], "", seed)
            yield Record(case, system, "resumed", len(found["resumed"]), "", seed)
            last = found["history"][-1]
            yield Record(case, system, "auc", last["valid_auc"], "", seed)
            yield Record(case, system, "log_loss", last["valid_loss"], "", seed)
            yield Record(case, system, "calibration ratio", last["valid_calibration"], "", seed)
        pairs = zip(whole["weights"].values(), killed["weights"].values(), strict=True)
        same = sum(torch.equal(one, other) for one, other in pairs)
        share = same / len(whole["weights"])
        yield Record(case, "2 workers, killed", "tensors of the same bits", 100 * share, "%", seed)
