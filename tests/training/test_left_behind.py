"""Folders of processes that are no more are removed, and those of others are not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from spark_ctr.rows.training_files import new_folder, remove_folder
from spark_ctr.training import Checkpoints
from spark_ctr.training.disk_space import full_disk, is_full_disk
from spark_ctr.training.owners import has_owner, is_left_behind, owner
from spark_ctr.training.worker import _remove_log_folder

if not os.path.exists("/proc/self/stat"):
    pytest.skip("needs /proc", allow_module_level=True)


@pytest.fixture(scope="module")
def dead():
    """The owner's name of a process that has ended."""
    code = "from spark_ctr.training.owners import owner; print(owner())"
    root = str(Path(__file__).parents[2])
    return subprocess.check_output([sys.executable, "-c", code], text=True, cwd=root).strip()


def test_an_owner_is_left_behind_once_its_process_ended(dead):
    machine, process, started = owner().split(".")
    assert int(process) == os.getpid()
    assert not is_left_behind(f"spark_ctr-{owner()}-x")
    assert is_left_behind(f"spark_ctr-{dead}-x")
    # The same number, another process.
    assert is_left_behind(f"spark_ctr-{machine}.{process}.{int(started) + 1}-x")
    # Nothing is known of another machine, or of a name without an owner.
    assert not is_left_behind(f"spark_ctr-{'0' * 12}.{process}.{int(started) + 1}-x")
    assert not is_left_behind("spark_ctr-0123abcd")
    assert has_owner(dead) and not has_owner("old")


@pytest.mark.parametrize("shared", [True, False])
def test_the_next_fit_removes_folders_of_killed_ones(dead, tmp_path, monkeypatch, shared):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = [f"spark_ctr-{owner()}-live", f"spark_ctr-{'0' * 12}.1.1-far", "mine", "spark_ctr-old"]
    for name in [*kept, f"spark_ctr-{dead}-killed"]:
        (tmp_path / name / "data").mkdir(parents=True)
    folder = new_folder(str(tmp_path) if shared else None)
    assert folder.startswith(f"file://{tmp_path}/spark_ctr-{owner()}-")
    remove_folder(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_checkpoints_drop_what_a_killed_writer_left_and_no_more(dead, tmp_path):
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.open_run({})
    checkpoints.write(1, {}, {"x": torch.zeros(1)})
    (run,) = tmp_path.iterdir()
    for name in (dead, owner()):
        (run / f".writing-{name}-x").mkdir()
    checkpoints.write(2, {}, {"x": torch.zeros(1)})
    assert [p.name for p in run.iterdir() if p.name.startswith(".")] == [f".writing-{owner()}-x"]


def test_the_log_folder_of_torchrun_goes(tmp_path, monkeypatch):
    error = tmp_path / "torchelastic_ab" / "run" / "attempt_0" / "0" / "error.json"
    error.parent.mkdir(parents=True)
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(error))
    _remove_log_folder()
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("TORCHELASTIC_ERROR_FILE")
    _remove_log_folder()


def test_a_full_disk_is_told_in_a_sentence():
    assert is_full_disk(OSError(errno.ENOSPC, "x")) and not is_full_disk(OSError("x"))
    assert is_full_disk(RuntimeError("java.io.IOException: No space left on device\n\tat ..."))
    error = full_disk("the rows", "/tmp/x", "cacheDir", 2_500_000, 1000)
    assert is_full_disk(error)
    assert "writing the rows to /tmp/x (about 2.5 MB are needed, 1 KB were free)" in str(error)


@pytest.mark.once
def test_a_checkpoint_on_a_full_disk_says_what_it_takes(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        checkpoints = Checkpoints(str(tmp_path / "kept"))
        checkpoints.open_run({})
        with pytest.raises(OSError, match=r"checkpoint of 4 MB .*needed, .* free.*checkpointDir"):
            checkpoints.write(1, {}, {"x": torch.zeros(1_000_000)})
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
