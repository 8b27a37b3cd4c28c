"""Optimisers: what a step does to the rows looked up, to all others, and to the rest."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_log import DCNV2, DNN

from spark_ctr.networks import PADDING, Inputs, Table, build_network
from spark_ctr.training.adamw import AdamW
from spark_ctr.training.loss import click_loss
from spark_ctr.training.optimizers import Optimizers
from spark_ctr.training.row_gradients import coalesce_rows
from spark_ctr.training.rowwise import OPTIMIZERS

ROWS, DIM = 6, 3
# 1 / size of the gradients, from the mean squares of a row's gradients so far.
STEP_SIZES = {
    "adam": lambda squares: (
        sum(0.001 * 0.999**k * square for k, square in enumerate(reversed(squares)))
        / (1 - 0.999 ** len(squares))
    ).rsqrt(),
    "adagrad": lambda squares: 10 * sum(squares).rsqrt(),
}
ids = st.lists(st.integers(0, ROWS - 1), max_size=9)


class Tables(torch.nn.Module):
    """One table, and gradients as a look-up gives them."""

    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        weight = torch.randn(ROWS, DIM, generator=draw)
        self.table = torch.nn.Embedding(ROWS, DIM, sparse=True, _weight=weight)

    def set_gradient(self, rows, seed, dense=False):
        values = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(seed))
        indices = torch.tensor([rows], dtype=torch.int64)
        grad = torch.sparse_coo_tensor(indices, values, (ROWS, DIM), check_invariants=True)
        self.table.weight.grad = grad.to_dense() if dense else grad
        return grad.to_dense()


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(sorted(OPTIMIZERS)),
    st.lists(ids, max_size=5),
    st.booleans(),
    st.sampled_from([0.0, 0.1]),
)
def test_every_row_is_trained_by_an_optimiser_of_its_own(name, batches, dense, l2):
    tables = Tables()
    weight = tables.table.weight
    moved = torch.zeros(ROWS, DIM)
    optimizers = Optimizers(
        tables,
        (),
        0.1,
        0.0,
        l2,
        None,
        name,
        lambda _, rows, change: moved.index_add_(0, rows, change),
    )
    start = weight.detach().clone()
    alone = weight.detach().double()
    squares = [[] for _ in range(ROWS)]
    last = [0] * ROWS
    for seed, batch in enumerate(batches):
        before = weight.detach().clone()
        grad = tables.set_gradient(batch, seed, dense).double()
        optimizers.step()
        for row in set(batch):
            squares[row].append(grad[row].square().mean())
            step_size = STEP_SIZES[name](squares[row])
            rate = 0.1 * (10 if name == "adagrad" else 1)
            both = torch.hypot(rate / 0.1 / step_size, l2 * alone[row].square().mean().sqrt())
            idle = seed + 1 - last[row]
            alone[row] *= torch.exp(-rate * l2 * idle / both)
            alone[row] -= 0.1 * grad[row] * step_size
            last[row] = seed + 1
        for row in set(range(ROWS)) - set(batch):
            assert torch.equal(weight[row], before[row])
    torch.testing.assert_close(weight.detach(), alone.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight.detach() - start, moved, rtol=1e-4, atol=1e-5)


def test_a_late_penalty_is_that_of_every_step():
    l2, steps = 0.3, 7
    finals = []
    for seen in ([steps], range(1, steps + 1)):
        torch.manual_seed(0)
        table = torch.nn.Embedding(1, 4, sparse=True, _weight=torch.full((1, 4), 2.0))
        optimizers = Optimizers(table, (), 1e-4, 0.0, l2, None)
        # Gradients of one size all along, and alternating, so that they all but cancel.
        for step in range(1, steps + 1):
            grad = torch.full((1, 4), 1.0 if step % 2 else -1.0)
            table.weight.grad = grad if step in seen else torch.zeros_like(grad)
            optimizers.step()
        finals.append(table.weight.detach().clone())
    torch.testing.assert_close(*finals, rtol=1e-6, atol=0)
    # 7 steps of rate * l2 / size, the size of gradient and penalty being sqrt(1 + 0.6^2).
    left = 2 * math.exp(-1e-4 * l2 * steps / math.sqrt(1.36)) - 1e-4
    assert finals[0][0, 0].item() == pytest.approx(left, rel=1e-6)


def test_the_penalty_is_about_that_of_torchs_dense_adam():
    rows, l2 = 4, 0.05
    draw = torch.Generator().manual_seed(1)
    start = torch.randn(rows, 8, generator=draw)
    table = torch.nn.Embedding(rows, 8, sparse=True, _weight=start.clone())
    peer = torch.nn.Parameter(start.clone())
    adam = torch.optim.Adam([peer], lr=1e-3, betas=(0.0, 0.999))
    optimizers = Optimizers(table, (), 1e-3, 0.0, l2, None)
    for _ in range(1000):
        grad = torch.randn(rows, 8, generator=draw)
        peer.grad = grad + l2 * peer.detach()
        table.weight.grad = grad
        adam.step()
        optimizers.step()
    ours, theirs = table.weight.detach(), peer.detach()
    plain = start.norm() - ours.norm()
    assert plain > 0.02 * start.norm()
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0.0)


def test_adam_of_one_column_is_torchs_without_momentum():
    table = torch.nn.Embedding(1, 1, sparse=True)
    peer = torch.nn.Parameter(table.weight.detach().clone())
    adam = torch.optim.Adam([peer], lr=0.1, betas=(0.0, 0.999))
    optimizers = Optimizers(table, (), 0.1, 0.0, 0.0, None)
    for value in (1.0, -0.3, 2.0, 1e-3):
        peer.grad = torch.full((1, 1), value)
        table.weight.grad = peer.grad.clone()
        adam.step()
        optimizers.step()
    torch.testing.assert_close(table.weight, peer)


@settings(deadline=None)
@given(st.lists(ids, min_size=1, max_size=3), st.integers(0, 99))
def test_rows_are_summed_as_torch_does_and_sorted(batches, seed):
    tables = Tables()
    grads = []
    for shift, batch in enumerate(batches):
        tables.set_gradient(batch, seed + shift)
        grads.append(tables.table.weight.grad)
    grads.append(grads[0].to_dense())
    for got, grad in zip(coalesce_rows(grads), grads, strict=True):
        assert got.is_coalesced()
        torch.testing.assert_close(got.to_dense(), grad.to_dense())
        assert torch.equal(got.indices()[0], grad.to_dense().ne(0).any(1).nonzero()[:, 0])


def test_padding_touches_nothing():
    inputs = Inputs((Table("list", 5, 2, slots=3, padded=True), Table("a", 4, 2)), ())
    network = build_network("dnn", inputs, {**DNN, "hidden_layers": [4], "dropout": 0.0}, seed=0)
    weight = network.embedding.weights[0].weight
    before = weight.detach().clone()
    optimizers = Optimizers(network, (), 0.1, 0.0, 0.5, 1.0)
    for batch in ([[PADDING, PADDING, PADDING, 1]], [[2, PADDING, PADDING, 3]]):
        optimizers.zero_grad()
        network(torch.tensor(batch), torch.zeros(1, 0)).sum().backward()
        optimizers.step()
    # Rows of "a" follow the five of "list".
    moved = (weight.detach() != before).any(1).nonzero()[:, 0].tolist()
    assert moved == [2, 5 + 1, 5 + 3]
    steps = optimizers.state_dict()["embedding.weights.0.weight:steps"]
    assert steps[:, 0].tolist() == [0, 0, 1, 0, 0, 0, 1, 0, 1]


def test_an_empty_batch_moves_no_row(inputs, make_rows):
    network = build_network("dcnv2", inputs, {**DCNV2, "hidden_layers": [4]}, seed=0)
    before = copy.deepcopy(network.embedding.state_dict())
    optimizers = Optimizers(network, (), 0.1, 0.0, 0.1, 1.0)
    click_loss(network, make_rows(0)).backward()
    optimizers.step()
    after = network.embedding.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def trained(network, optimizers, make_rows, seeds):
    for seed in seeds:
        optimizers.zero_grad()
        click_loss(network, make_rows(40, seed)).backward()
        optimizers.step()
    return network.state_dict()


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_a_loaded_state_goes_on_with_the_same_bits(name, first, inputs, make_rows):
    scale = [torch.nn.Parameter(torch.ones(2))]
    network = build_network("dcnv2", inputs, {**DCNV2, "dropout": 0.0}, seed=0)
    optimizers = Optimizers(network, scale, 0.01, 0.1, 1e-3, 1.0, name)
    trained(network, optimizers, make_rows, range(first))
    optimizers.set_learning_rate(0.005)
    other = copy.deepcopy(network)
    loaded = Optimizers(other, scale, 0.3, 0.1, 1e-3, 1.0, name)
    state = optimizers.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    loaded.load_state_dict({key: value.clone() for key, value in state.items()})
    assert loaded.learning_rate == 0.005
    one, two = (
        trained(n, o, make_rows, range(5, 8)) for n, o in ((network, optimizers), (other, loaded))
    )
    assert all(torch.equal(one[key], two[key]) for key in one)
    one, two = optimizers.state_dict(), loaded.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_state_of_something_else_is_refused(inputs, make_rows):
    network = build_network("dnn", inputs, {**DNN, "hidden_layers": [4]}, seed=0)
    optimizers = Optimizers(network, (), 0.01, 0.0, 0.0, None)
    trained(network, optimizers, make_rows, [0])
    state = optimizers.state_dict()
    wider = build_network("dnn", inputs, {**DNN, "hidden_layers": [5]}, seed=0)
    with pytest.raises(ValueError, match=r"state of 'mlp.*' must hold .*5.*got .*4"):
        Optimizers(wider, (), 0.01, 0.0, 0.0, None).load_state_dict(state)
    plain = build_network("lr", inputs, {}, seed=0)
    with pytest.raises(ValueError, match=r"another network: it has \['mlp"):
        Optimizers(plain, (), 0.01, 0.0, 0.0, None).load_state_dict(
            {key: value for key, value in state.items() if not key.startswith("embedding")}
        )


@pytest.mark.parametrize("sparse", [True, False])
def test_clipping_bounds_the_whole_gradient(sparse, inputs, make_rows):
    network = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    for weight in network.embedding.weights:
        weight.sparse = sparse
    optimizers = Optimizers(network, (), 0.1, 0.0, 0.0, 0.01)
    (100 * click_loss(network, make_rows(32))).backward()
    optimizers.step()
    norm = torch.sqrt(sum(p.grad.to_dense().square().sum() for p in network.parameters()))
    assert norm.item() == pytest.approx(0.01, rel=1e-3)


def test_weight_decay_spares_tables_and_biases(inputs):
    network = build_network("dnn", inputs, {**DNN, "dropout": 0.0}, seed=0)
    before = copy.deepcopy(network.state_dict())
    optimizers = Optimizers(network, (), 0.1, 0.5, 0.0, None)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizers.step()
    for name, parameter in network.named_parameters():
        decayed = parameter.ndim == 2 and not name.startswith("embedding.")
        factor = 1 - 0.1 * 0.5 if decayed else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor)


def test_all_but_tables_take_the_steps_of_torchs_adamw():
    draw = torch.Generator().manual_seed(0)
    shapes = [(7, 5), (5,), (3, 7)]
    ours, theirs = (
        [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes] for _ in "ab"
    )
    for one, other in zip(ours, theirs, strict=True):
        other.data.copy_(one.data)
    adamw = AdamW([(ours[::2], 0.1), (ours[1:2], 0.0), ([], 0.1)])
    groups = [
        {"params": theirs[::2], "weight_decay": 0.1},
        {"params": theirs[1:2], "weight_decay": 0.0},
    ]
    peer = torch.optim.AdamW(groups, fused=True)
    for step in range(5):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape, generator=draw)
            other.grad = one.grad.clone()
        if step == 2:
            ours[2].grad = theirs[2].grad = None
        for group in peer.param_groups:
            group["lr"] = 0.01 / (step + 1)
        adamw.step(0.01 / (step + 1))
        peer.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
            assert adamw.state[one].keys() == peer.state[other].keys()


def test_training_does_not_load_torchs_compiler():
    code = """
import sys
import torch
from spark_ctr.training.optimizers import Optimizers
network = torch.nn.Linear(2, 1)
network(torch.ones(3, 2)).sum().backward()
Optimizers(network, (), 0.1, 0.1, 0.0, 1.0).step()
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
