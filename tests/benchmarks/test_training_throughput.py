"""The throughput benchmark: its systems compute the same, and its log fits the tables."""

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks import dcnv2, throughput_log
from benchmarks.throughput_log import N_NUMERIC


def test_the_plain_loop_trains_the_network_that_ours_is(monkeypatch):
    tables = (5, 3)
    for module in (throughput_log, dcnv2):
        monkeypatch.setattr(module, "TABLES", tables)
    monkeypatch.setattr(dcnv2, "N_IDS", len(tables))
    ours, plain = dcnv2.our_network(seed=1), dcnv2.PlainDCNv2()
    with torch.no_grad():
        ours.embedding.weights[0].weight.copy_(torch.cat([t.weight for t in plain.tables]))
        mine = [*ours.cross.parameters(), *ours.mlp.parameters(), *ours.output.parameters()]
        others = [*plain.crosses.parameters(), *plain.mlp.parameters(), *plain.output.parameters()]
        for one, other in zip(mine, others, strict=True):
            one.copy_(other)
    ids, numeric = torch.tensor([[0, 2], [4, 1]], dtype=torch.int32), torch.randn(2, N_NUMERIC)
    torch.testing.assert_close(ours(ids, numeric)[:, 0], plain(ids, numeric))


def test_ids_lie_in_their_tables_and_frequent_ones_come_first(tmp_path):
    throughput_log.write_log(tmp_path / "log", 2000, seed=0)
    table = pq.read_table(tmp_path / "log")
    assert table.num_rows == 2000
    for column, rows in enumerate(throughput_log.TABLES):
        ids = table.column(f"c{column}").to_numpy()
        assert ids.dtype == np.int32 and ids.min() == 0 and ids.max() < rows
        assert np.bincount(ids).argmax() == 0
