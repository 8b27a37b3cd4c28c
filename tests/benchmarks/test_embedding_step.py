"""The optimisers' benchmark: its data, and that its systems differ in one optimiser only."""

import numpy as np
import torch

from benchmarks.embedding_logs import adult_log
from benchmarks.embedding_step import (
    ADAGRAD,
    BAGS,
    COLUMNS,
    DENSE,
    SPARSE,
    Model,
    TorchOptimizers,
    draw_ids,
)
from benchmarks.frame import OURS
from spark_ctr.networks import Inputs, Table


def test_values_that_adult_holds_once_share_a_row():
    log = adult_log(dim=2)
    assert (log.train_rows, len(log.label), log.numeric.shape[1]) == (32_561, 48_842, 4)
    for column, table in enumerate(log.inputs.tables):
        seen = torch.bincount(log.ids[: log.train_rows, column], minlength=table.rows)
        assert len(seen) == table.rows and seen[1:].min() >= 2


def test_systems_compute_the_same_and_penalise_the_same_rows():
    inputs = Inputs((Table("a", 5, 2), Table("b", 4, 2)), ())
    ids, numeric = torch.tensor([[1, 2], [1, 0]], dtype=torch.int32), torch.zeros(2, 0)
    logits, gradients = [], []
    for system in (OURS, SPARSE, DENSE, ADAGRAD):
        model = Model(system, inputs, [4], seed=0).eval()
        logits.append(model(ids, numeric))
        logits[-1].sum().backward()
        if system != OURS:
            TorchOptimizers(model, system, l2=0.5).step()
            gradients.append(model.weights[0].grad.to_dense())
    assert all(torch.equal(other, logits[0]) for other in logits)
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(gradients[0], gradients[2])
    assert [len(weight) for weight in Model(BAGS, inputs, [4], seed=0).weights] == [5, 4]


def test_batches_look_up_no_more_rows_than_asked_for_and_others_each_time():
    random = np.random.default_rng(0)
    one, two = (draw_ids(random, 500, 10_000, different=8) for _ in range(2))
    for batch in (one, two):
        assert batch.shape == (500, COLUMNS) and batch.dtype == np.int32
        assert {len(np.unique(column)) for column in batch.T} <= set(range(5, 9))
    assert not set(one[:, 0]) & set(two[:, 0])
