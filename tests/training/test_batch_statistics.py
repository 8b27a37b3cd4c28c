"""Statistics of batch normalisation for averaged weights."""

import pytest
import torch
from memory_log import PLAIN

from spark_ctr.networks import build_network
from spark_ctr.networks.random_draws import RandomDraws
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.batch_statistics import RECENT, BatchStatistics
from spark_ctr.training.loss import click_loss

FLOAT32 = {"device": "cpu", "precision": "float32"}
CONFIG = {"hidden_layers": [8], "dropout": 0.5, "batch_norm": True}


def first_layer(network, rows):
    """What the first normalisation reads."""
    x = torch.cat([network.embedding(rows.ids), rows.numeric], 1)
    return network.mlp.layers["hidden_0"].linear(x).detach()


def test_they_are_means_over_the_last_batches_and_go_again(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, CONFIG, seed=0).train()
    for seed in range(3):
        click_loss(network, make_rows(20, seed))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.random.get_rng_state()
    statistics = BatchStatistics(network)
    feed = memory_feed(make_rows(20 * (RECENT + 3), 50), 20)
    batches = list(statistics.batches(feed, 0, 0))
    norm = network.mlp.layers["hidden_0"].norm
    draws = RandomDraws(0)
    with draws.dropout_of(network), statistics.estimated():
        seen = [first_layer(network, batch) for batch in batches[3:]]
        mean = torch.stack([x.mean(0) for x in seen]).mean(0)
        variance = torch.stack([x.var(0) for x in seen]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        assert norm.momentum == 0.1 and network.training
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(torch.random.get_rng_state(), random)


def test_a_layer_behind_dropout_has_those_that_it_was_trained_on(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, {**CONFIG, "hidden_layers": [64, 64]}, seed=0)
    network.train()
    statistics = BatchStatistics(network)
    list(statistics.batches(memory_feed(make_rows(2_000), 200), 0, 0))
    second = network.mlp.layers["hidden_1"]
    seen = {}
    second.linear.register_forward_hook(lambda *_: seen.update(x=_[-1]))
    with RandomDraws(0).dropout_of(network), torch.no_grad():
        network(*(getattr(make_rows(2_000), part) for part in ("ids", "numeric")))
        trained = seen["x"].var(0)
        network.mlp.dropout.eval()
        network(*(getattr(make_rows(2_000), part) for part in ("ids", "numeric")))
        without = seen["x"].var(0)
        network.mlp.dropout.train()
        with statistics.estimated():
            ratio = (second.norm.running_var / trained).mean()
    assert ratio == pytest.approx(1.0, abs=0.05)
    assert (without / trained).mean() < 0.8


@pytest.mark.parametrize("start", [0, 1, RECENT, RECENT + 2])
def test_a_resumed_epoch_has_the_same_last_batches(start, inputs, make_rows, memory_feed):
    feed = memory_feed(make_rows(20 * (RECENT + 3)), 20, seed=1)
    network = build_network("dnn", inputs, CONFIG, seed=0)
    whole, resumed = BatchStatistics(network), BatchStatistics(network)
    rest = list(whole.batches(feed, 2, 0))[start:]
    for got, batch in zip(resumed.batches(feed, 2, start), rest, strict=True):
        assert torch.equal(got.ids, batch.ids)
    norm, means = network.mlp.layers["hidden_0"].norm, []
    for statistics in (whole, resumed):
        with statistics.estimated():
            means.append(norm.running_mean.clone())
    assert torch.equal(*means)


@pytest.mark.parametrize("rows", [0, 2])
def test_without_a_batch_of_two_rows_those_of_training_stay(rows, inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, CONFIG, seed=0).train()
    click_loss(network, make_rows(20))
    norm = network.mlp.layers["hidden_0"].norm
    mean = norm.running_mean.clone()
    statistics = BatchStatistics(network)
    list(statistics.batches(memory_feed(make_rows(rows), 1), 0, 0))
    with statistics.estimated():
        assert torch.equal(norm.running_mean, mean)


def test_the_kept_network_has_those_of_its_last_batches(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, CONFIG, seed=0)
    feed = memory_feed(make_rows(300, 1), 16, seed=0)
    settings = TrainingSettings(
        learning_rate=0.01, max_epochs=2, **PLAIN | {"average_weights": True}, **FLOAT32
    )
    train(network, feed, None, settings)
    last = list(feed.batches(1))[-RECENT:]
    mean = torch.stack([first_layer(network, batch).mean(0) for batch in last]).mean(0)
    torch.testing.assert_close(network.mlp.layers["hidden_0"].norm.running_mean, mean)
