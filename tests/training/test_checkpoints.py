"""Checkpoints: a killed run goes on to the same bits; damage is told; runs are kept apart."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from memory_log import DCNV2, DNN, INPUTS
from safetensors.torch import load_file

from spark_ctr.networks import build_network
from spark_ctr.training import Checkpoints, DistillationLoss, TrainingSettings, train
from tests.kill_at import KillAt, Killed

CONFIG = {**DCNV2, "hidden_layers": [16, 8], "dropout": 0.3, "batch_norm": True}
SETTINGS = TrainingSettings(
    learning_rate=0.02,
    max_epochs=4,
    patience=1,
    seed=4,
    embedding_l2=1e-3,
    average_weights=True,
    recalibrate=False,
    device="cpu",
)


def run(make_rows, memory_feed, checkpoints=None, progress=None, settings=SETTINGS, distil=False):
    """Train 8 batches an epoch; return the network's weights and the history."""
    train_feed = memory_feed(make_rows(256, 1), 32, seed=3)
    valid_feed = memory_feed(make_rows(128, 2), 64)
    network = build_network("dcnv2", INPUTS, CONFIG, seed=7)
    loss = None
    if distil:
        loss = DistillationLoss(
            build_network("dnn", INPUTS, DNN, seed=1), network, layer_weights=0.1
        )
    history = train(
        network,
        train_feed,
        valid_feed,
        settings,
        loss=loss,
        progress=progress,
        checkpoints=checkpoints,
    )
    return network.state_dict(), history


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def learned(history):
    return [(e["train_loss"], e["valid_loss"], e["valid_auc"]) for e in history.epochs]


@pytest.mark.parametrize("distil", [False, True], ids=["click loss", "distillation"])
@pytest.mark.parametrize("batches", [3, 8, 13])
def test_an_ended_run_goes_on_to_the_same_bits(batches, distil, make_rows, memory_feed, tmp_path):
    whole, history = run(make_rows, memory_feed, distil=distil)
    folder = str(tmp_path / "a b")
    with pytest.raises(Killed):
        checkpoints = Checkpoints(folder, every_steps=2)
        run(make_rows, memory_feed, checkpoints, KillAt(batches), distil=distil)
    torch.manual_seed(99)
    checkpoints = Checkpoints(folder, every_steps=2)
    resumed, second = run(make_rows, memory_feed, checkpoints, distil=distil)
    assert same(whole, resumed)
    assert learned(history) == learned(second)
    assert second.resumed_at == [batches - 1 if batches % 2 else batches - 2 if batches > 8 else 6]
    assert (history.best_epoch, history.stopped_early) == (second.best_epoch, second.stopped_early)
    again, third = run(make_rows, memory_feed, Checkpoints(folder), KillAt(1), distil=distil)
    assert same(whole, again) and learned(third) == learned(history)
    (kept,) = Path(folder).iterdir()
    assert len(list(kept.iterdir())) == 2


def test_a_killed_process_goes_on_to_the_same_bits(make_rows, memory_feed, tmp_path):
    program = f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import torch
        torch.set_num_threads(1)
        from memory_log import MemoryFeed, click_rows
        from test_checkpoints import run
        from spark_ctr.training import Checkpoints, Progress

        class Kill(Progress):
            batches = 0
            def advance(self, rows, loss):
                self.batches += 1
                if self.batches == 12:
                    os.kill(os.getpid(), signal.SIGKILL)

        run(click_rows, MemoryFeed, Checkpoints({str(tmp_path)!r}, every_steps=5), Kill())
    """
    program = textwrap.dedent(program)
    ended = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert ended.returncode == -signal.SIGKILL
    whole, _ = run(make_rows, memory_feed)
    resumed, history = run(make_rows, memory_feed, Checkpoints(str(tmp_path)))
    assert history.resumed_at == [10]
    assert same(whole, resumed)


@pytest.mark.parametrize("damage", ["cut", "altered", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    damage, make_rows, memory_feed, tmp_path, caplog
):
    whole, _ = run(make_rows, memory_feed)
    with pytest.raises(Killed):
        run(make_rows, memory_feed, Checkpoints(str(tmp_path), every_steps=3), KillAt(7))
    last = max(tmp_path.glob("*/step-*"))
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes({"cut": data[: len(data) // 2], "altered": data, "empty": b""}[damage])
    with caplog.at_level(logging.WARNING):
        resumed, history = run(make_rows, memory_feed, Checkpoints(str(tmp_path)))
    assert f"{last} is damaged" in caplog.text
    assert history.resumed_at == [3]
    assert same(whole, resumed)


def test_a_writer_that_was_cut_off_leaves_no_checkpoint(
    make_rows, memory_feed, tmp_path, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", lambda *paths: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(make_rows, memory_feed, Checkpoints(str(tmp_path), every_steps=3))
    (kept,) = tmp_path.iterdir()
    (kept / ".writing-old").mkdir()
    (kept / ".writing-old" / "checkpoint").write_bytes(b"half")
    _, history = run(make_rows, memory_feed, Checkpoints(str(tmp_path)))
    assert history.resumed_at == []
    assert all(path.name.startswith("step-") for path in kept.iterdir())


def test_other_data_settings_or_weights_are_another_run(make_rows, memory_feed, tmp_path, caplog):
    def resumed(settings=SETTINGS, **facts):
        checkpoints = Checkpoints(str(tmp_path), every_steps=2, run=facts)
        return run(make_rows, memory_feed, checkpoints, settings=settings)[1].resumed_at

    assert resumed(data="a") == []
    with caplog.at_level(logging.INFO):
        assert resumed(data="b") == []
    assert "none of this one" in caplog.text
    other = TrainingSettings(**{**vars(SETTINGS), "learning_rate": 0.03})
    assert resumed(other, data="a") == []
    assert resumed(data="a") != []
    assert len(list(tmp_path.iterdir())) == 3


def test_by_time_and_on_another_file_system(make_rows, memory_feed):
    import fsspec

    folder = "memory://checkpoints of a test"
    with pytest.raises(Killed):
        run(make_rows, memory_feed, Checkpoints(folder, every_seconds=1e-9), KillAt(5))
    files = fsspec.filesystem("memory").find(folder)
    assert [Path(file).name[:17] for file in files] == ["step-000000000003", "step-000000000004"]
    whole, _ = run(make_rows, memory_feed)
    resumed, history = run(make_rows, memory_feed, Checkpoints(folder))
    assert same(whole, resumed) and history.resumed_at == [4]


def test_a_checkpoint_holds_no_pickle(make_rows, memory_feed, tmp_path):
    run(make_rows, memory_feed, Checkpoints(str(tmp_path)))
    tensors = load_file(max(tmp_path.glob("*/step-*")))
    parts = {name.partition(".")[0] for name in tensors}
    assert parts >= {"network", "optimizers", "random"}
