"""The average of weights: its formula, row by row, and what training makes of it."""

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_log import DCNV2, DNN, PLAIN

from spark_ctr.networks import build_network
from spark_ctr.training import TrainingSettings, predict, train
from spark_ctr.training.averaging import ETA, WeightAverage
from spark_ctr.training.loss import click_loss
from spark_ctr.training.metrics import roc_auc
from spark_ctr.training.optimizers import Optimizers

ROWS = 5


def average_of(path):
    """Shamir and Zhang's recursion over the weights after each step."""
    average = path[0].double()
    for t, weights in enumerate(path, 1):
        share = (ETA + 1) / (t + ETA)
        average = (1 - share) * average + share * weights.double()
    return average.float()


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, ROWS - 1), max_size=4, unique=True), min_size=1, max_size=12),
    st.sampled_from([12, 10_000_000]),
)
def test_rows_are_averaged_as_if_every_step_took_them_all(steps, planned):
    torch.manual_seed(0)
    table = torch.nn.Embedding(ROWS, 3)
    average = WeightAverage(table, planned)
    path = []
    for rows in steps:
        change = torch.randn(len(rows), 3)
        average.moved("weight", torch.tensor(rows, dtype=torch.int64), change)
        table.weight.data[rows] += change
        average.end_step()
        path.append(table.weight.detach().clone())
    with average.in_place():
        torch.testing.assert_close(table.weight.detach(), average_of(path), atol=1e-5, rtol=1e-5)
    assert torch.equal(table.weight.detach(), path[-1])


def test_all_of_a_network_is_averaged(inputs, make_rows):
    network = build_network("dcnv2", inputs, {**DCNV2, "batch_norm": True, "dropout": 0.0}, seed=0)
    average = WeightAverage(network, 6)
    optimizers = Optimizers(network, (), 0.01, 0.0, 0.05, None, moved=average.moved)
    path = []
    for seed in range(6):
        optimizers.zero_grad()
        click_loss(network, make_rows(20, seed)).backward()
        optimizers.step()
        average.end_step()
        path.append({k: v.detach().clone() for k, v in network.state_dict().items()})
    with average.in_place():
        for name, value in network.named_parameters():
            expected = average_of([weights[name] for weights in path])
            torch.testing.assert_close(value.detach(), expected, atol=1e-5, rtol=1e-4)
    last = network.state_dict()
    assert all(torch.equal(last[name], path[-1][name]) for name in last)


def test_training_validates_and_keeps_the_average(inputs, make_rows, memory_feed):
    valid = memory_feed(make_rows(1500, 2), 512)
    results = {}
    for averaged in (False, True):
        network = build_network("dcnv2", inputs, {**DCNV2, "hidden_layers": [32, 16]}, seed=0)
        history = train(
            network,
            memory_feed(make_rows(2000, 1), 64, seed=0),
            valid,
            TrainingSettings(
                **PLAIN | {"average_weights": averaged},
                learning_rate=0.01,
                max_epochs=6,
                device="cpu",
            ),
        )
        assert roc_auc(*predict(network, valid).of_task()) == history.best["valid_auc"]
        assert not network.training
        results[averaged] = history.best["valid_loss"]
    # Far more than noise: the plain run overfits at this rate.
    assert results[True] < results[False]


@pytest.mark.parametrize("epochs", [0, 2])
def test_without_validation_the_last_average_counts(epochs, inputs, make_rows, memory_feed):
    network = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    start = copy.deepcopy(network.state_dict())
    path = []

    def loss(network, batch):
        path.append({k: v.detach().clone() for k, v in network.state_dict().items()})
        return click_loss(network, batch)

    feed = memory_feed(make_rows(60, 1), 16, seed=0)
    options = {"max_epochs": epochs, "device": "cpu", "precision": "float32"}
    train(
        network,
        feed,
        None,
        TrainingSettings(**options, **PLAIN | {"average_weights": True}),
        loss=loss,
    )
    if not epochs:
        assert all(torch.equal(start[name], value) for name, value in network.state_dict().items())
        return
    plain = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    train(plain, feed, None, TrainingSettings(**options, **PLAIN))
    path = [*path[1:], plain.state_dict()]
    for name, value in network.state_dict().items():
        expected = average_of([weights[name] for weights in path])
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=1e-4)


def test_a_loaded_state_goes_on_with_the_same_bits():
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Embedding(ROWS, 2), torch.nn.Linear(2, 1))]
    networks.append(copy.deepcopy(networks[0]))
    averages = [WeightAverage(network, 9) for network in networks]
    rows = torch.arange(3)
    for step in range(9):
        if step == 4:
            state = {name: value.clone() for name, value in averages[0].state_dict().items()}
            networks[1].load_state_dict(networks[0].state_dict())
            averages[1].load_state_dict(state)
        for network, average in list(zip(networks, averages, strict=True))[: 1 + (step >= 4)]:
            change = torch.full((3, 2), 0.1 * step)
            average.moved("0.weight", rows, change)
            network[0].weight.data[rows] += change
            network[1].weight.data += step
            average.end_step()
    with averages[0].in_place(), averages[1].in_place():
        one, two = (network.state_dict() for network in networks)
        assert all(torch.equal(one[name], two[name]) for name in one)


def test_history_of_an_average_is_json(inputs, make_rows, memory_feed):
    history = train(
        build_network("lr", inputs),
        memory_feed(make_rows(100), 32),
        memory_feed(make_rows(50, 1), 32),
        TrainingSettings(**PLAIN | {"average_weights": True}, max_epochs=3, device="cpu"),
    )
    epochs = json.loads(json.dumps(history.to_dict()))["epochs"]
    assert history.best_epoch == int(np.argmax([e["valid_auc"] for e in epochs]))
