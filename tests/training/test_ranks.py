"""Processes that train together end with what one process learns from their batches."""

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from memory_log import DCNV2, INPUTS, click_rows

from spark_ctr.networks import build_network
from spark_ctr.networks.layers.batch_norm import BatchNorm
from spark_ctr.training import Checkpoints, Ranks, TrainingSettings, predict, train
from spark_ctr.training.feeds.batch import Batch

# Without dropout, whose draws no two processes share. Batch normalisation is tested apart: the
# gradient of the bias before it is rounding alone, which Adam takes for a direction.
CONFIG = {**DCNV2, "hidden_layers": [16, 8], "dropout": 0.0}
SETTINGS = TrainingSettings(
    learning_rate=0.02,
    max_epochs=3,
    patience=2,
    patience_on="objective",
    seed=4,
    embedding_l2=1e-3,
    average_weights=True,
    recalibrate=False,
    clip_norm=1.0,
    device="cpu",
    precision="float32",
)
GLOBAL_BATCH, ROWS = 32, 250
DRAW = torch.Generator().manual_seed(0)
PARTS = [
    (100 + torch.randn(n, 3, generator=DRAW), torch.randn(n, 3, generator=DRAW)) for n in (5, 1)
]


class Slices:
    """Every rank's part of the batches of one order of rows; the last ranks may run out of rows."""

    kind = "slices"

    def __init__(self, rows: Batch, batch_size: int, rank: int, ranks: int) -> None:
        self.rows, self._all = rows.rows, rows
        self._size, self._rank, self._part = batch_size, rank, batch_size // ranks

    @property
    def steps(self) -> int:
        return -(-self.rows // self._size)

    def batches(self, epoch: int, start: int = 0):
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(epoch))
        for whole in order.split(self._size)[start:]:
            at = whole[self._rank * self._part :][: self._part]
            r = self._all
            yield Batch(r.ids[at], r.numeric[at], r.label[at], r.weight[at])


def fit(rank: int, size: int, sparse: bool, folder: str | None = None):
    """Train on one rank of `size`, with row-sparse or dense gradients of tables."""
    torch.set_num_threads(1)
    ranks = Ranks(rank, size)
    network = build_network("dcnv2", INPUTS, CONFIG, seed=7)
    for weight in network.embedding.weights:
        weight.sparse = sparse
    valid = Slices(click_rows(101, 2), 64, rank, size)
    history = train(
        network,
        Slices(click_rows(ROWS, 1), GLOBAL_BATCH, rank, size),
        valid,
        SETTINGS,
        ranks=ranks,
        checkpoints=Checkpoints(folder, every_steps=5) if folder else None,
    )
    # Sorted, since ranks score other rows.
    return network, history, np.sort(predict(network, valid, ranks=ranks).logit, axis=0)


def one_of_two(rank: int, address: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    for sparse in (True, False):
        checkpoints = f"{folder}/checkpoints" if sparse else None
        network, history, logits = fit(rank, 2, sparse, checkpoints)
        found = (network.state_dict(), history.epochs, torch.tensor(logits))
        torch.save(found, f"{folder}/{rank}-{sparse}.pt")
    # A second run goes on from the first one's checkpoints, each rank with its own draws.
    again, history, _ = fit(rank, 2, True, f"{folder}/checkpoints")
    torch.save((again.state_dict(), history.resumed_at), f"{folder}/{rank}-again.pt")
    torch.save(normalised(BatchNorm(3), *PARTS[rank]), f"{folder}/{rank}-norm.pt")
    dist.destroy_process_group()


def normalised(norm: torch.nn.Module, x: torch.Tensor, grad: torch.Tensor):
    """Normalise in training; return output, input's gradient, and all the module holds."""
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, 1.0, 2.0]))
    x = x.clone().requires_grad_()
    y = norm(x)
    y.backward(grad)
    gradients = {f"{name} gradient": p.grad for name, p in norm.named_parameters()}
    return y.detach(), x.grad, dict(norm.state_dict()), gradients


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """Return a function that loads what a rank saved."""
    folder = tmp_path_factory.mktemp("ranks")
    arguments = (f"file://{folder}/store", str(folder))
    # The processes share one import of torch.
    mp.get_context("forkserver").set_forkserver_preload(["spark_ctr.training"])
    mp.start_processes(one_of_two, arguments, nprocs=2, start_method="forkserver")
    return lambda name: torch.load(folder / f"{name}.pt")


@pytest.mark.parametrize("sparse", [True, False], ids=["sparse", "dense"])
def test_two_ranks_learn_what_one_process_learns(sparse, two_ranks):
    alone, history, logits = fit(0, 1, sparse)
    assert len(logits) == 101
    states = []
    for rank in (0, 1):
        state, epochs, scored = two_ranks(f"{rank}-{sparse}")
        np.testing.assert_allclose(scored, logits, rtol=1e-4, atol=1e-4)
        states.append(state)
        for name, wanted in alone.state_dict().items():
            torch.testing.assert_close(state[name], wanted, rtol=2e-4, atol=2e-5, msg=name)
        for one, other in zip(history.epochs, epochs, strict=True):
            for figure in ("train_loss", "valid_loss", "valid_auc", "valid_objective"):
                assert one[figure] == pytest.approx(other[figure], rel=1e-4)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_batch_normalisation_over_two_ranks(two_ranks):
    x, grad = (torch.cat(tensors) for tensors in zip(*PARTS, strict=True))
    wanted = normalised(torch.nn.BatchNorm1d(3), x, grad)
    running = normalised(BatchNorm(3), x, grad)[2]
    found = [two_ranks(f"{rank}-norm") for rank in (0, 1)]
    for i in (0, 1):
        torch.testing.assert_close(
            torch.cat([part[i] for part in found]), wanted[i], rtol=1e-4, atol=1e-4
        )
    for state in (found[0][2], found[1][2]):
        torch.testing.assert_close(state, running, rtol=1e-4, atol=1e-4)
    summed = {name: found[0][3][name] + found[1][3][name] for name in wanted[3]}
    torch.testing.assert_close(summed, wanted[3], rtol=1e-4, atol=1e-4)


def test_two_ranks_go_on_from_a_checkpoint(two_ranks):
    for rank in (0, 1):
        state, _, _ = two_ranks(f"{rank}-True")
        again, resumed_at = two_ranks(f"{rank}-again")
        assert resumed_at == [3 * 8]
        assert all(torch.equal(state[name], again[name]) for name in state)


def test_one_process_exchanges_nothing():
    ranks = Ranks()
    rows = torch.arange(3.0)
    assert ranks.total([1.5, 2.0]) == [1.5, 2.0]
    assert ranks.gather(rows) is rows
