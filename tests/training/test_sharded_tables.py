"""Tables spread over processes look up, learn and are kept as whole ones."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from memory_log import DCNV2, INPUTS, click_rows
from test_ranks import SETTINGS, Slices

from spark_ctr.networks import Inputs, Table, build_network
from spark_ctr.networks.layers.embedding import EmbeddingTables
from spark_ctr.training import Checkpoints, Ranks, train
from spark_ctr.training.sharded_tables import ShardedEmbedding, ShardedTables
from tests.kill_at import KillAt, Killed

CONFIG = {**DCNV2, "hidden_layers": [16, 8], "dropout": 0.0}
RANKS = 3
# Fewer rows than processes, several slots with padding, two columns of one table, two dimensions.
TABLES = Inputs(
    (
        Table("few", 2, 4),
        Table("many", 50, 4),
        Table("words", 20, 4, slots=3, padded=True),
        Table("seller", 30, 2, shared="site"),
        Table("site", 30, 2, shared="site"),
    ),
    (),
)


def looked_up(tables: EmbeddingTables, rank: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Look a rank's rows up and go back; the last rank has none."""
    draw = torch.Generator().manual_seed(rank)
    rows = 0 if rank == RANKS - 1 else 17
    ids = torch.stack(
        [
            torch.randint(first, table.rows, (rows,), generator=draw)
            for table in TABLES.tables
            for first in [-1 if table.padded else 0]
            for _ in range(table.slots)
        ],
        1,
    )
    found = tables(ids)
    found.backward(torch.randn(found.shape, generator=draw))
    return found.detach(), [table.weight.grad.to_dense() for table in tables.weights]


def new_tables() -> EmbeddingTables:
    torch.manual_seed(5)
    return EmbeddingTables(TABLES)


def fit(rank: int, size: int, folder: str, until: int | None = None):
    """Train, or be killed after some batches; return weights and where it went on."""
    network = build_network("dcnv2", INPUTS, CONFIG, seed=7)
    history = train(
        network,
        Slices(click_rows(250, 1), 36, rank, size),
        Slices(click_rows(101, 2), 72, rank, size),
        replace(SETTINGS, optimizer="adagrad"),
        ranks=Ranks(rank, size),
        checkpoints=Checkpoints(folder, every_steps=4),
        progress=KillAt(until) if until else None,
    )
    return network.state_dict(), history.resumed_at


def one_of_three(rank: int, address: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=RANKS)
    tables = new_tables()
    whole = [table.weight.detach().clone() for table in tables.weights]
    sharded = ShardedTables(tables, Ranks(rank, RANKS))
    assert all(isinstance(table, ShardedEmbedding) for table in tables.weights)
    found = looked_up(tables, rank)
    sharded.gather()
    again = [table.weight.detach() for table in tables.weights]
    torch.save((found, whole, again), f"{folder}/{rank}-looked-up.pt")
    for run in ("of-one", "of-three"):
        torch.save(fit(rank, RANKS, f"{folder}/{run}"), f"{folder}/{rank}-{run}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def three_ranks(tmp_path_factory):
    """Run three ranks, which find a checkpoint of one process in the folder "of-one"."""
    folder = tmp_path_factory.mktemp("sharded")
    with pytest.raises(Killed):
        fit(0, 1, f"{folder}/of-one", until=10)
    mp.get_context("forkserver").set_forkserver_preload(["spark_ctr.training"])
    arguments = (f"file://{folder}/store", str(folder))
    mp.start_processes(one_of_three, arguments, nprocs=RANKS, start_method="forkserver")
    return folder


def test_looks_up_and_goes_back_as_whole_tables_do(three_ranks):
    whole = new_tables()
    grads = [torch.zeros_like(table.weight) for table in whole.weights]
    parts = []
    for rank in range(RANKS):
        for table in whole.weights:
            table.weight.grad = None
        found, of_rank = looked_up(whole, rank)
        for total, grad in zip(grads, of_rank, strict=True):
            total += grad
        (rows, own), before, after = torch.load(three_ranks / f"{rank}-looked-up.pt")
        torch.testing.assert_close(rows, found, rtol=0, atol=0)
        assert all(map(torch.equal, before, after))
        parts.append(own)
    for g, total in enumerate(grads):
        joined = torch.empty_like(total)
        for rank, own in enumerate(parts):
            joined[rank::RANKS] = own[g]
        torch.testing.assert_close(joined, total, rtol=1e-6, atol=1e-6)


def test_any_number_of_processes_goes_on_from_a_checkpoint(three_ranks, tmp_path):
    wanted, _ = fit(0, 1, str(tmp_path))
    on_three, resumed_at = torch.load(three_ranks / "0-of-one.pt")
    assert resumed_at == [8]
    whole, _ = torch.load(three_ranks / "0-of-three.pt")
    # One process reads what three have left at the end.
    on_one, at_end = fit(0, 1, str(three_ranks / "of-three"))
    assert at_end == [3 * 7]
    for name, value in wanted.items():
        for found in (on_three, whole):
            torch.testing.assert_close(found[name], value, rtol=5e-4, atol=5e-5, msg=name)
        torch.testing.assert_close(on_one[name], whole[name], rtol=0, atol=0, msg=name)


def test_a_damaged_part_is_a_damaged_checkpoint(three_ranks, caplog):
    (run,) = (three_ranks / "of-three").iterdir()
    assert len(list(run.glob("shard-*"))) == 2 * RANKS and len(list(run.glob("step-*"))) == 2
    last = max(run.glob("shard-*"))
    last.write_bytes(last.read_bytes()[:-1])
    _, resumed_at = fit(0, 1, str(three_ranks / "of-three"))
    assert resumed_at == [20]
    assert "is damaged" in caplog.text
