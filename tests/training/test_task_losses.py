"""Losses of several tasks: weights, uncertainty, GradNorm and PCGrad, on the trunk alone."""

import pytest
import torch
from memory_log import PLAIN, MemoryFeed

from spark_ctr.networks import build_network
from spark_ctr.networks.layers.embedding import embedding_modules
from spark_ctr.training import Checkpoints, TrainingSettings, train
from spark_ctr.training.feeds.batch import Batch
from spark_ctr.training.loss import task_losses
from spark_ctr.training.losses import Objective, TermSettings
from spark_ctr.training.losses.balance import without_conflicts

CPU = {**PLAIN, "device": "cpu", "precision": "float32"}
SMALL = {"hidden_layers": [8], "tower_layers": [4], "dropout": 0.0}


def two_labels(rows):
    """Rows with a second label, known of clicks alone."""
    click = rows.label[:, 0]
    buy = click * (rows.ids[:, 1] % 2)
    known = torch.stack([torch.ones(rows.rows), click], 1) > 0
    return Batch(rows.ids, rows.numeric, torch.stack([click, buy], 1), rows.weight, known)


def loss_of(network, **options):
    return Objective((TermSettings("tasks", options=options),)).loss(network)


def gradients(network, value):
    network.zero_grad()
    value.backward()
    return {
        name: p.grad.to_dense().clone()
        for name, p in network.named_parameters()
        if p.grad is not None
    }


@pytest.fixture
def rows(make_rows):
    return two_labels(make_rows(300, 1))


@pytest.fixture
def network(inputs):
    return build_network("mmoe", inputs, SMALL, seed=1)


def test_given_weights_are_factors_on_each_tasks_loss(network, rows):
    each = task_losses(network(rows.ids, rows.numeric), rows)
    found = loss_of(network, weights=[0.5, 3.0])(network, rows)
    torch.testing.assert_close(found, 0.5 * each[0] + 3.0 * each[1])
    unknown = Batch(
        rows.ids, rows.numeric, torch.where(rows.known, rows.label, 1 - rows.label), rows.weight,
        rows.known,
    )  # fmt: skip
    assert torch.equal(loss_of(network)(network, unknown), loss_of(network)(network, rows))


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, float("nan")]])
def test_weights_that_are_none_are_refused(network, weights):
    with pytest.raises(ValueError, match=r"tasks \['click', 'conversion'\].*above 0"):
        loss_of(network, weights=weights)


def test_uncertainty_ends_at_variances_that_equal_the_losses(network, rows):
    loss = loss_of(network, weighting="uncertainty")
    (s,) = loss.parameters()
    assert s.tolist() == [-0.5, -0.5]
    each = torch.stack(task_losses(network(rows.ids, rows.numeric), rows)).detach()
    found = loss(network, rows)
    torch.testing.assert_close(found.detach(), (each / (2 * s.exp()) + s / 2).sum().detach())
    with torch.no_grad():
        s.copy_(each.log())
    loss(network, rows).backward()
    assert s.grad.abs().max() < 1e-6
    loss.eval()
    torch.testing.assert_close(loss(network, rows).detach(), each.sum())


def test_a_sum_without_conflicts_by_hand():
    draw = torch.Generator().manual_seed(0)
    opposed = torch.tensor([[1.0, 0.0], [-1.0, 1.0]])
    # (1, 0) loses its part along (-1, 1), and (-1, 1) its part along (1, 0).
    torch.testing.assert_close(without_conflicts(opposed, draw), torch.tensor([0.5, 1.5]))
    agreed = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    torch.testing.assert_close(without_conflicts(agreed, draw), agreed.sum(0))


def test_pcgrad_changes_the_gradients_of_the_trunk_alone(network, rows):
    # Equal towers and labels at odds, so that the tasks' gradients are too.
    for part in (network.towers.towers, network.towers.outputs):
        part[1].load_state_dict(part[0].state_dict())
    label = torch.stack([rows.label[:, 0], 1 - rows.label[:, 0]], 1)
    rows = Batch(rows.ids, rows.numeric, label, rows.weight)
    plain_value = loss_of(network)(network, rows)
    plain = gradients(network, plain_value)
    value = loss_of(network, weighting="pcgrad")(network, rows)
    changed = gradients(network, value)
    assert value.item() == pytest.approx(plain_value.item(), rel=1e-6)
    trunk = {name for name in plain if name.startswith("trunk.")}
    for name in plain:
        same = torch.allclose(changed[name], plain[name], rtol=1e-4, atol=1e-8)
        assert same == (name not in trunk), name
    each = task_losses(network(rows.ids, rows.numeric), rows)
    parameters = network.trunk_parameters()
    flat = torch.stack(
        [
            torch.cat(
                [g.flatten() for g in torch.autograd.grad(one, parameters, retain_graph=True)]
            )
            for one in each
        ]
    )
    wanted = without_conflicts(flat, torch.Generator().manual_seed(1))
    found = torch.cat([changed[n].flatten() for n, _ in network.named_parameters() if n in trunk])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("weighting", ["gradnorm", "pcgrad"])
def test_each_tasks_gradient_is_held_of_no_table(network, rows, weighting, monkeypatch):
    held = []
    grad = torch.autograd.grad

    def counted(*arguments, **options):
        found = grad(*arguments, **options)
        held.append(sum(g.numel() * g.element_size() for g in found if g is not None))
        return found

    monkeypatch.setattr(torch.autograd, "grad", counted)
    loss = loss_of(network, weighting=weighting)
    loss.before_epoch(1)
    loss(network, rows).backward()
    trunk = sum(p.numel() * p.element_size() for p in network.trunk_parameters())
    tables = {id(table.weight) for table in embedding_modules(network)}
    assert held == [trunk, trunk]
    assert tables.isdisjoint(id(p) for p in network.trunk_parameters())
    # Nor does a loss train the network's parameters as its own.
    assert {id(p) for p in loss.parameters()}.isdisjoint(id(p) for p in network.parameters())


def test_gradnorm_moves_towards_gradients_that_fall_alike(network, rows):
    loss = loss_of(network, weighting="gradnorm", alpha=0.0)
    each = task_losses(network(rows.ids, rows.numeric), rows)
    loss.before_epoch(0)
    torch.testing.assert_close(loss(network, rows), torch.stack(each).sum())
    balance = loss.terms[0].balance
    torch.testing.assert_close(balance.first, torch.stack(each).detach())
    loss.before_epoch(1)
    parameters = network.trunk_parameters()
    lengths = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, parameters, retain_graph=True)])
        .norm()
        .item()
        for one in each
    ]
    longer = lengths.index(max(lengths))
    steps = torch.optim.Adam(loss.parameters(), lr=0.02)
    for _ in range(200):
        steps.zero_grad()
        loss(network, rows).backward()
        steps.step()
    scale = 2 * balance.scale.softmax(0)
    assert scale[longer] < 1
    assert (scale[0] * lengths[0]).item() == pytest.approx((scale[1] * lengths[1]).item(), rel=0.1)


@pytest.mark.parametrize("name", ["esmm", "ensemble"])
def test_a_network_without_a_shared_trunk_is_refused(inputs, name):
    config = {**SMALL, "members": 2} if name == "ensemble" else SMALL
    network = build_network("esmm" if name == "esmm" else "mmoe", inputs, config)
    with pytest.raises(ValueError, match=r"'pcgrad'.*has none that tasks share"):
        loss_of(network, weighting="pcgrad")


@pytest.mark.parametrize("weighting", ["given", "uncertainty", "gradnorm", "pcgrad"])
def test_training_learns_both_tasks_and_goes_on_from_a_checkpoint(
    inputs, make_rows, tmp_path, weighting
):
    rows, valid = (two_labels(make_rows(n, seed)) for n, seed in ((1_500, 1), (600, 2)))
    feeds = MemoryFeed(rows, 64, seed=0), MemoryFeed(valid, 300)

    def run(epochs, folder):
        network = build_network("shared_bottom", inputs, SMALL, seed=1)
        settings = TrainingSettings(
            learning_rate=1e-2, max_epochs=epochs, monitored_task="conversion", **CPU
        )
        loss = loss_of(network, weighting=weighting)
        history = train(network, *feeds, settings, loss=loss, checkpoints=Checkpoints(str(folder)))
        return network, history

    network, history = run(4, tmp_path / "whole")
    assert history.best["tasks"]["conversion"]["valid_auc"] > 0.9
    aucs = [epoch["tasks"]["conversion"]["valid_auc"] for epoch in history.epochs]
    assert history.best_epoch == aucs.index(max(aucs))
    again, resumed = run(4, tmp_path / "whole")
    assert resumed.resumed_at
    state = again.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_a_monitored_task_that_is_none_is_refused(network, rows):
    settings = TrainingSettings(monitored_task="sale", **CPU)
    with pytest.raises(ValueError, match="'sale'.*click, conversion"):
        train(network, MemoryFeed(rows, 64, seed=0), None, settings)
