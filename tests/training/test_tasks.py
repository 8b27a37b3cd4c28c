"""Several tasks: labels that are not known for a row, losses, figures, and files."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from memory_log import PLAIN, MemoryFeed
from small_parquet import kinds
from torch.nn import functional

from spark_ctr.networks import build_network
from spark_ctr.networks.output_bias import map_logits, start_at
from spark_ctr.networks.serialization import network_from_bytes, network_to_bytes
from spark_ctr.networks.trust import trust
from spark_ctr.training import Checkpoints, TrainingSettings, predict, train
from spark_ctr.training.feeds import open_feed
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import members_bce, task_losses, weighted_bce
from spark_ctr.training.metrics import log_loss_of_logits, roc_auc
from spark_ctr.training.tracking import figures

HERE = "tests.training.two_tasks"
CPU = {**PLAIN, "device": "cpu", "precision": "float32"}


def two_labels(rows: Batch) -> Batch:
    """Rows with a second label, which is known of clicks alone and tells a second column's rows."""
    click = rows.label[:, 0]
    buy = click * (rows.ids[:, 1] % 2)
    return Batch(
        rows.ids,
        rows.numeric,
        torch.stack([click, buy], 1),
        rows.weight,
        torch.stack([torch.ones(rows.rows), click], 1) > 0,
    )


@given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 2**31))
def test_loss_is_a_sum_over_tasks_and_adds_up_over_parts_of_a_batch(n, cut, seed):
    draw = torch.Generator().manual_seed(seed)
    logits, weight = torch.randn(n, 2, generator=draw), torch.rand(n, generator=draw) + 0.1
    label = torch.rand(n, 2, generator=draw).round()
    known = torch.rand(n, 2, generator=draw) > 0.4
    by_hand = 0.0
    for i in range(n):
        for task in range(2):
            z, y = logits[i, task].item(), label[i, task].item()
            if known[i, task]:
                by_hand += weight[i].item() * (math.log1p(math.exp(z)) - y * z)
    got = weighted_bce(logits, label, weight, known=known).item()
    assert got == pytest.approx(by_hand / weight.sum().item(), rel=1e-4, abs=1e-6)
    parts = [slice(0, cut), slice(cut, n)]
    share = sum(
        weighted_bce(logits[p], label[p], weight[p], known=known[p]).item() * weight[p].sum().item()
        for p in parts
        if len(weight[p])
    )
    assert share / weight.sum().item() == pytest.approx(got, rel=1e-4, abs=1e-6)


def test_training_measures_recalibrates_and_keeps_each_task(inputs, make_rows, tmp_path):
    network = build_network(f"{HERE}:TwoTasks", inputs, seed=1)
    assert network.tasks == ("click", "buy")
    start_at(network, [-1.0, 0.5], (make_rows(50).ids, make_rows(50).numeric))
    rows, valid = (two_labels(make_rows(n, seed)) for n, seed in ((2_000, 1), (500, 2)))
    feeds = MemoryFeed(rows, 64, seed=0), MemoryFeed(valid, 100)
    plain = TrainingSettings(learning_rate=1e-2, max_epochs=3, **CPU)
    history = train(network, *feeds, plain, checkpoints=Checkpoints(str(tmp_path)))
    found = predict(network, feeds[1])
    assert found.logit.shape == (500, 2)
    assert np.isnan(found.label[:, 1]).sum() == int((valid.label[:, 0] == 0).sum()) > 0
    label, logit, weight = found.of_task(1)
    best = history.best
    assert best["tasks"]["buy"]["valid_auc"] == roc_auc(label, logit, weight) > 0.9
    assert best["valid_auc"] == np.mean([best["tasks"][t]["valid_auc"] for t in network.tasks])
    assert figures(best)["buy/valid_auc"] == best["tasks"]["buy"]["valid_auc"]
    # Goes on from the checkpoint, which holds the figures of tasks too.
    again = build_network(f"{HERE}:TwoTasks", inputs, seed=1)
    start_at(again, [-1.0, 0.5], (make_rows(50).ids, make_rows(50).numeric))
    resumed = train(again, *feeds, plain, checkpoints=Checkpoints(str(tmp_path)))
    assert resumed.resumed_at and resumed.best["tasks"] == best["tasks"]
    # Recalibration maps one task and leaves the other.
    before = network(valid.ids, valid.numeric)
    map_logits(network, 0.5, 1.0, 1)
    after = network(valid.ids, valid.numeric)
    assert torch.equal(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1], 0.5 * before[:, 1] + 1.0)
    with trust(HERE):
        loaded = network_from_bytes(network_to_bytes(network))
    assert loaded.tasks == network.tasks
    assert torch.equal(loaded(valid.ids, valid.numeric), after)


def test_recalibration_is_of_each_task(inputs, make_rows):
    network = build_network(f"{HERE}:TwoTasks", inputs, seed=1)
    rows = two_labels(make_rows(3_000, 1))
    few = two_labels(make_rows(400, 3))
    settings = TrainingSettings(learning_rate=0.3, max_epochs=2, **CPU | {"recalibrate": True})
    history = train(network, MemoryFeed(few, 16, seed=0), MemoryFeed(rows, 500), settings)
    assert list(history.recalibration) == ["click", "buy"]
    scored = predict(network, MemoryFeed(rows, 500))
    for task, name in enumerate(network.tasks):
        found = history.recalibration[name]
        if found["applied"]:
            assert log_loss_of_logits(*scored.of_task(task)) < found["log_loss"]
    assert any(found["applied"] for found in history.recalibration.values())


@kinds
def test_files_with_weights_of_labels(tmp_path, kind):
    weights = [[1.0, 1.0, 1.0], [3.0, 0.0, 0.5]]
    columns = {"label": [0, 1, 1], "label1": [1, None, 0], "weight": [1, 2, 1]}
    columns |= {f"label_weight{task}": found for task, found in enumerate(weights)}
    floats = {name: pa.array(values, pa.float32()) for name, values in columns.items()}
    table = pa.table({"c0": pa.array(range(3), pa.int32())} | floats)
    pq.write_table(table, tmp_path / "part-0.parquet")
    named = {"n_labels": 2, "batch_size": 3, "shuffle": False, "seed": 0, "kind": kind}
    (batch,) = open_feed(tmp_path, 1, 0, task_scales=[1.0, 2.0], **named).batches(0)
    assert batch.label_weight.tolist() == [[1, 6], [1, 0], [1, 1]]
    assert batch.counted.tolist() == [[1, 6], [1, 0], [1, 1]]
    assert batch.to(torch.device("meta")).label_weight.shape == (3, 2)
    logits = torch.tensor([[0.3, -1.0], [0.2, 5.0], [-0.4, 0.1]])
    each = functional.binary_cross_entropy_with_logits(logits, batch.label, reduction="none")
    wanted = torch.stack([(each[:, 0] * batch.weight).sum(), 6 * each[0, 1] + each[2, 1]]) / 4
    torch.testing.assert_close(torch.stack(task_losses(logits, batch)), wanted)
    torch.testing.assert_close(members_bce(logits[None], batch), wanted.sum())


@kinds
def test_files_with_labels_that_are_not_known(tmp_path, kind):
    labels = [0.0, 1.0, None, 0.0, 1.0, None]
    table = pa.table(
        {
            "c0": pa.array(range(6), pa.int32()),
            "label": pa.array([0, 1, 1, 0, 1, 0], pa.float32()),
            "label1": pa.array(labels, pa.float32()),
            "weight": pa.array([1.0] * 6, pa.float32()),
        }
    )
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=4)
    feed = open_feed(tmp_path, 1, 0, n_labels=2, kind=kind, batch_size=6, shuffle=False, seed=0)
    (batch,) = feed.batches(0)
    assert batch.label.tolist() == [[0, 0], [1, 1], [1, 0], [0, 0], [1, 1], [0, 0]]
    assert batch.known[:, 0].all()
    assert batch.known[:, 1].tolist() == [label is not None for label in labels]
    assert batch.label_weight is None and batch.counted is batch.known
    with pytest.raises(ValueError, match="column label2 is missing"):
        open_feed(tmp_path, 1, 0, n_labels=3, kind=kind, batch_size=6, shuffle=False, seed=0)
