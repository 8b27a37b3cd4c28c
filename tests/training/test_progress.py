"""Progress on terminals, plain streams, and in silence."""

import io
import math

import pytest
from memory_log import PLAIN

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, make_progress, train
from spark_ctr.training.progress import BarProgress, LineProgress, Progress

RECORD = {"train_loss": 0.5, "valid_loss": 0.4, "valid_auc": 0.81234, "rows_per_second": 12345.0}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_line_per_epoch_on_a_plain_stream(inputs, make_rows, memory_feed):
    stream = io.StringIO()
    train(
        build_network("lr", inputs),
        memory_feed(make_rows(100), 10),
        memory_feed(make_rows(50, 1), 50),
        TrainingSettings(**PLAIN, max_epochs=2, device="cpu"),
        progress=make_progress(stream),
    )
    lines = stream.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for part in ("loss ", "valid loss ", "AUC ", " rows/s"):
        assert part in lines[0]
    assert "\r" not in stream.getvalue()


def test_intermediate_lines_come_every_ten_seconds():
    now = [0.0]
    stream = io.StringIO()
    progress = LineProgress(stream, clock=lambda: now[0])
    progress.start_epoch(0, 3, 5000)
    for _ in range(50):
        now[0] += 0.5
        progress.advance(100, 0.25)
    progress.end_epoch(RECORD)
    assert stream.getvalue().splitlines() == [
        "epoch 1/3: 2,000 of 5,000 rows, loss 0.2500, 200 rows/s",
        "epoch 1/3: 4,000 of 5,000 rows, loss 0.2500, 200 rows/s",
        "epoch 1/3: loss 0.5000, valid loss 0.4000, AUC 0.8123, 12,345 rows/s",
    ]


def test_missing_validation_is_left_out():
    stream = io.StringIO()
    progress = LineProgress(stream)
    progress.start_epoch(0, 1, 10)
    progress.end_epoch({**RECORD, "valid_loss": math.nan, "valid_auc": math.nan})
    assert stream.getvalue() == "epoch 1/1: loss 0.5000, 12,345 rows/s\n"


def test_bar_on_a_terminal():
    stream = Terminal()
    progress = make_progress(stream)
    assert isinstance(progress, BarProgress)
    progress.start_epoch(1, 4, 100)
    progress.advance(60, 0.3)
    progress.advance(40, 0.2)
    progress.end_epoch(RECORD)
    progress.close()
    text = stream.getvalue()
    assert "epoch 2/4" in text and "100%" in text and "AUC 0.8123" in text


def test_bar_is_closed_when_training_fails(inputs, make_rows, memory_feed):
    progress = BarProgress(Terminal())

    def fail(network, batch):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        train(
            build_network("lr", inputs),
            memory_feed(make_rows(10), 5),
            None,
            TrainingSettings(**PLAIN, max_epochs=1, device="cpu"),
            loss=fail,
            progress=progress,
        )
    assert progress._bar is None


def test_default_is_silent(inputs, make_rows, memory_feed, capsys):
    train(
        build_network("lr", inputs),
        memory_feed(make_rows(10), 5),
        None,
        TrainingSettings(**PLAIN, max_epochs=1, device="cpu"),
    )
    Progress().close()
    assert capsys.readouterr() == ("", "")
