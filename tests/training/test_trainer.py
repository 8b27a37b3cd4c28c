"""The training loop: determinism, best epoch, optimisers, errors."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from memory_log import DCNV2, DNN, PLAIN
from torch import nn

from spark_ctr.networks import NETWORKS, build_network
from spark_ctr.training import TrainingSettings, predict, train
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import click_loss
from spark_ctr.training.metrics import roc_auc

CPU = {**PLAIN, "device": "cpu"}


class Told(nn.Module):
    """The default loss, which passes on what it is told before each epoch."""

    def __init__(self, before_epoch):
        super().__init__()
        self.before_epoch = before_epoch

    def forward(self, network, batch):
        return click_loss(network, batch)


def same(one, two):
    return all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_network_learns(name, inputs, make_rows, memory_feed):
    train_feed = memory_feed(make_rows(3000, 1), 128, seed=0)
    valid_feed = memory_feed(make_rows(1500, 2), 512)
    config = {} if name in ("lr", "fm") else {**DNN, "hidden_layers": [32, 16]}
    if name == "autoint":
        config |= {"attention_layers": 1, "attention_dim": 8}  # as quick as the others
    network = build_network(name, inputs, config, seed=0)
    settings = TrainingSettings(learning_rate=0.01, max_epochs=4, **CPU)
    history = train(network, train_feed, valid_feed, settings)
    assert history.best["valid_auc"] > 0.75
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    assert not network.training
    assert roc_auc(*predict(network, valid_feed).of_task()) == history.best["valid_auc"]


def test_two_runs_give_the_same_bits(inputs, make_rows, memory_feed):
    settings = TrainingSettings(
        **CPU | {"seed": 4, "embedding_l2": 1e-3},
        max_epochs=2,
        weight_decay=0.01,
        clip_norm=1.0,
    )
    config = {**DCNV2, "hidden_layers": [32, 16], "dropout": 0.3, "batch_norm": True}
    states, histories = [], []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        before = torch.random.get_rng_state()
        network = build_network("dcnv2", inputs, config, seed=7)
        history = train(
            network,
            memory_feed(make_rows(1000, 1), 64, seed=3),
            memory_feed(make_rows(300, 2), 64),
            settings,
        )
        assert torch.equal(torch.random.get_rng_state(), before)
        states.append(network.state_dict())
        histories.append([(e["train_loss"], e["valid_auc"]) for e in history.epochs])
    assert same(*states) and histories[0] == histories[1]
    other = build_network("dcnv2", inputs, config, seed=7)
    train(
        other,
        memory_feed(make_rows(1000, 1), 64, seed=3),
        None,
        TrainingSettings(**CPU | {"seed": 5}, max_epochs=2),
    )
    assert not same(states[0], other.state_dict())


def test_early_stopping_restores_the_best_epoch(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    states = []
    history = train(
        network,
        memory_feed(make_rows(150, 1), 16, seed=0),
        memory_feed(make_rows(500, 2), 256),
        TrainingSettings(
            learning_rate=0.02, max_epochs=30, patience=3, learning_rate_decay=0.5, **CPU
        ),
        loss=Told(lambda epoch: states.append(copy.deepcopy(network.state_dict()))),
    )
    aucs = [e["valid_auc"] for e in history.epochs]
    assert history.stopped_early and len(aucs) == history.best_epoch + 1 + 3
    assert aucs[history.best_epoch] == max(aucs)
    # The state before the epoch after the best is the state after the best.
    assert same(network.state_dict(), states[history.best_epoch + 1])
    assert not same(network.state_dict(), states[-1])
    rates = [e["learning_rate"] for e in history.epochs]
    assert rates[-1] == pytest.approx(rates[history.best_epoch] * 0.25)


def test_history_is_json_and_complete(inputs, make_rows, memory_feed):
    network = build_network("lr", inputs, {}, seed=0)
    settings = TrainingSettings(max_epochs=2, **CPU)
    feed = memory_feed(make_rows(100), 32)
    history = train(network, feed, None, settings)
    text = json.dumps(history.to_dict(), allow_nan=False)
    assert json.loads(text)["epochs"][0]["valid_auc"] is None
    assert set(history.epochs[0]) == {
        "epoch", "train_loss", "valid_loss", "valid_auc", "valid_calibration", "learning_rate",
        "rows_per_second", "data_wait_share", "seconds", "peak_memory",
    }  # fmt: skip
    assert (history.monitor, history.best_epoch) == ("none", 1)
    assert 0 <= history.epochs[0]["data_wait_share"] <= 1
    assert history.epochs[0]["rows_per_second"] > 0
    assert history.epochs[0]["peak_memory"] > 50e6  # torch alone takes more


def test_train_loss_is_the_weighted_mean_over_rows(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    rows = make_rows(50)
    expected = click_loss(network, rows).item()
    settings = TrainingSettings(learning_rate=1e-12, max_epochs=1, **CPU)
    history = train(network, memory_feed(rows, 16), memory_feed(rows, 16), settings)
    assert history.epochs[0]["train_loss"] == pytest.approx(expected, rel=1e-5)
    assert history.epochs[0]["valid_loss"] == pytest.approx(expected, rel=1e-5)


def test_one_class_in_validation_falls_back_to_log_loss(inputs, make_rows, memory_feed):
    rows = make_rows(60)
    rows.label = torch.zeros(60, 1)
    history = train(
        build_network("lr", inputs, {}, seed=0),
        memory_feed(make_rows(200), 32),
        memory_feed(rows, 32),
        TrainingSettings(max_epochs=3, monitor="auc", **CPU),
    )
    assert history.monitor == "log_loss"
    losses = [e["valid_loss"] for e in history.epochs]
    assert history.best_epoch == int(np.argmin(losses))
    assert all(math.isnan(e["valid_auc"]) for e in history.epochs)


def test_monitor_log_loss_picks_its_best_epoch(inputs, make_rows, memory_feed):
    history = train(
        build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0),
        memory_feed(make_rows(200), 16, seed=0),
        memory_feed(make_rows(300, 1), 300),
        TrainingSettings(learning_rate=0.02, max_epochs=8, patience=8, monitor="log_loss", **CPU),
    )
    assert history.best_epoch == int(np.argmin([e["valid_loss"] for e in history.epochs]))


@pytest.mark.parametrize(
    ("poison", "message"),
    [
        (lambda rows: rows.numeric[:, 1].fill_(math.nan), r"\['price'\] hold nan"),
        (lambda rows: rows.label.fill_(math.nan), "label or weight"),
    ],
)
def test_non_finite_loss_names_place_and_cause(poison, message, inputs, make_rows, memory_feed):
    rows = make_rows(40)
    late = Batch(rows.ids[16:], rows.numeric[16:], rows.label[16:], rows.weight[16:])
    poison(late)
    with pytest.raises(FloatingPointError, match=r"epoch 0, step 2: .*" + message):
        train(
            build_network("dnn", inputs, DNN, seed=0),
            memory_feed(rows, 8),
            None,
            TrainingSettings(max_epochs=2, **CPU),
        )


def test_diverging_loss_names_the_learning_rate(inputs, make_rows, memory_feed):
    with pytest.raises(FloatingPointError, match=r"learning rate 0\.5 is likely too large"):
        train(
            build_network("lr", inputs, {}, seed=0),
            memory_feed(make_rows(40), 8),
            None,
            TrainingSettings(learning_rate=0.5, max_epochs=1, **CPU),
            loss=lambda network, batch: click_loss(network, batch) * math.inf,
        )


def test_parameters_of_a_loss_module_are_trained(inputs, make_rows, memory_feed):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, network, batch):
            return click_loss(network, batch) * self.scale

    loss = Scaled()
    settings = TrainingSettings(max_epochs=1, **CPU)
    train(build_network("lr", inputs), memory_feed(make_rows(40), 8), None, settings, loss=loss)
    assert loss.scale.item() < 1.0


def test_a_loss_is_told_of_every_epoch(inputs, make_rows, memory_feed):
    seen = []
    settings = TrainingSettings(max_epochs=3, **CPU)
    feed = memory_feed(make_rows(40), 8)
    train(build_network("lr", inputs), feed, None, settings, loss=Told(seen.append))
    assert seen == [0, 1, 2]


def test_short_last_batch_of_one_row_with_batch_norm(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, {**DNN, "batch_norm": True}, seed=0)
    settings = TrainingSettings(max_epochs=1, **CPU)
    history = train(network, memory_feed(make_rows(33), 16), None, settings)
    assert math.isfinite(history.epochs[0]["train_loss"])


def test_no_epochs_and_no_rows(inputs, make_rows, memory_feed):
    network = build_network("lr", inputs)
    before = copy.deepcopy(network.state_dict())
    none = TrainingSettings(max_epochs=0, **CPU)
    assert train(network, memory_feed(make_rows(8), 4), None, none).epochs == []
    assert same(network.state_dict(), before)
    empty = memory_feed(make_rows(0), 4)
    with pytest.raises(ValueError, match="no rows"):
        train(network, empty, None, TrainingSettings(**CPU))
    assert predict(network, empty).logit.shape == (0, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be above 0.0: 0.0"),
        ({"patience": 0}, "patience must be at least 1: 0"),
        ({"monitor": "f1"}, "monitor must be one of 'auc', 'log_loss': 'f1'"),
        ({"device": "tpu"}, "device must be"),
        ({"learning_rate_decay": 0.0}, "learning_rate_decay must be above 0.0"),
        ({"clip_norm": 0.0}, "clip_norm must be above 0.0"),
        ({"max_epochs": -1}, "max_epochs must be at least 0: -1"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        TrainingSettings(**change)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_missing_gpu_is_named(inputs, make_rows, memory_feed):
    with pytest.raises(ValueError, match="no GPU is available"):
        train(
            build_network("lr", inputs), memory_feed(make_rows(8), 4), None,
            TrainingSettings(device="cuda"),
        )  # fmt: skip


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_training(inputs, make_rows, memory_feed):
    network = build_network("dcnv2", inputs, DCNV2, seed=0)
    before = torch.cuda.get_rng_state()
    history = train(
        network,
        memory_feed(make_rows(3000, 1), 64, seed=0),
        memory_feed(make_rows(1500, 2), 512),
        TrainingSettings(**PLAIN | {"embedding_l2": 1e-5}, learning_rate=0.01, max_epochs=4,
                         clip_norm=5.0, device="cuda"),
    )  # fmt: skip
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert history.best["valid_auc"] > 0.75
    assert next(network.parameters()).device.type == "cpu"


def test_learning_rate_follows_the_schedule(inputs, make_rows, memory_feed):
    rates = {}
    for schedule in ("constant", "linear", "cosine"):
        network = build_network("lr", inputs, {}, seed=0)
        settings = TrainingSettings(
            learning_rate=0.1, schedule=schedule, warmup_steps=2, max_epochs=3, **CPU
        )
        feed = memory_feed(make_rows(320), 32)
        history = train(network, feed, None, settings)
        rates[schedule] = [record["learning_rate"] for record in history.epochs]
    assert rates["constant"] == [0.1, 0.1, 0.1]
    # Of the last of 10, 20 and 30 steps, two of them warming up.
    assert rates["linear"] == pytest.approx([0.1 * (1 - (s - 2) / 28) for s in (9, 19, 29)])
    assert rates["cosine"] == pytest.approx(
        [0.05 * (1 + math.cos(math.pi * (s - 2) / 28)) for s in (9, 19, 29)]
    )


def test_bfloat16_learns_about_the_same(inputs, make_rows, memory_feed):
    losses = {}
    for precision in ("float32", "bfloat16"):
        network = build_network(
            "dnn", inputs, {**DNN, "hidden_layers": [32], "dropout": 0.0}, seed=0
        )
        settings = TrainingSettings(learning_rate=0.01, max_epochs=3, precision=precision, **CPU)
        feed = memory_feed(make_rows(2000, 1), 64, seed=0)
        history = train(network, feed, None, settings)
        losses[precision] = history.epochs[-1]["train_loss"]
        assert all(p.dtype == torch.float32 for p in network.parameters())
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.01)
