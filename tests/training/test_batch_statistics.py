"""Statistics of batch normalisation for averaged weights."""

import pytest
import torch

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, train
from spark_ctr.training.batch_statistics import RECENT, BatchStatistics
from spark_ctr.training.loss import click_loss

CPU = torch.device("cpu")
FLOAT32 = {"device": "cpu", "precision": "float32"}
CONFIG = {"hidden_layers": [8], "dropout": 0.5, "batch_norm": True}


def first_layer(network, rows):
    """What the first normalisation reads."""
    x = torch.cat([network.embedding(rows.ids), rows.numeric], 1)
    return network.mlp.layers["hidden_0"].linear(x).detach()


def test_they_are_means_over_the_last_batches_and_go_again(inputs, make_rows):
    network = build_network("dnn", inputs, CONFIG, seed=0).train()
    for seed in range(3):
        click_loss(network, make_rows(20, seed))
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.random.get_rng_state()
    statistics = BatchStatistics(network)
    batches = [make_rows(20, 50 + seed) for seed in range(RECENT + 3)]
    for batch in batches:
        statistics.saw(batch)
    norm = network.mlp.layers["hidden_0"].norm
    with statistics.estimated(CPU):
        seen = [first_layer(network, batch) for batch in batches[3:]]
        mean = torch.stack([x.mean(0) for x in seen]).mean(0)
        variance = torch.stack([x.var(0) for x in seen]).mean(0)
        torch.testing.assert_close(norm.running_mean, mean)
        torch.testing.assert_close(norm.running_var, variance)
        assert norm.momentum == 0.1 and network.training
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(torch.random.get_rng_state(), random)


@pytest.mark.parametrize("rows", [[], [1, 1]])
def test_without_a_batch_of_two_rows_those_of_training_stay(rows, inputs, make_rows):
    network = build_network("dnn", inputs, CONFIG, seed=0).train()
    click_loss(network, make_rows(20))
    norm = network.mlp.layers["hidden_0"].norm
    mean = norm.running_mean.clone()
    statistics = BatchStatistics(network)
    for n in rows:
        statistics.saw(make_rows(n))
    with statistics.estimated(CPU):
        assert torch.equal(norm.running_mean, mean)


def test_the_kept_network_has_those_of_its_last_batches(inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, CONFIG, seed=0)
    feed = memory_feed(make_rows(300, 1), 16, seed=0)
    settings = TrainingSettings(learning_rate=0.01, max_epochs=2, average_weights=True, **FLOAT32)
    train(network, feed, None, settings)
    last = list(feed.batches(1))[-RECENT:]
    mean = torch.stack([first_layer(network, batch).mean(0) for batch in last]).mean(0)
    torch.testing.assert_close(network.mlp.layers["hidden_0"].norm.running_mean, mean)
