"""Feeds of teacher's logits and of unlabelled rows: each with its own row, resumed exactly."""

import itertools
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from small_parquet import ROWS, kinds, opened, rows_table, write

from spark_ctr.training.batch_statistics import RECENT, BatchStatistics
from spark_ctr.training.feeds import UnlabelledFeed, open_training_feed

FURTHER = 150


def with_teacher(directory, stop=ROWS, prefix=""):
    """Write rows whose i is told by two teacher's columns, i / 4 and -i, as well."""
    directory.mkdir()
    for part, (start, end) in enumerate(itertools.pairwise((0, stop // 3, stop))):
        table = rows_table(start, end)
        names = [prefix + n if n[:1] in "cn" else n for n in table.column_names]
        i = np.arange(start, end, dtype=np.float32)
        table = table.rename_columns(names).append_column("t0", [i / 4]).append_column("t1", [-i])
        pq.write_table(table, directory / f"{part}.parquet", row_group_size=40)
    return directory


def both(path, kind, buffer=200, **options):
    labelled = {
        "path_or_url": path / "rows", "n_ids": 2, "n_numeric": 1, "kind": kind, "batch_size": 64,
        "shuffle": True, "seed": 7, "shuffle_buffer_rows": buffer, "n_teacher": 2,
    }  # fmt: skip
    further = {"path_or_url": path / "more", "batch_size": 48, "seed": 8}
    return open_training_feed(labelled, labelled | further, **options)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher")
    with_teacher(path / "rows")
    with_teacher(path / "more", FURTHER)
    return path


def assert_equal(one, other):
    for name in ("ids", "numeric", "label", "weight", "teacher", "known"):
        a, b = getattr(one, name), getattr(other, name)
        assert (a is None and b is None) or torch.equal(a, b)
    if one.unlabelled is not None:
        assert_equal(one.unlabelled, other.unlabelled)


@kinds
@pytest.mark.parametrize("buffer", [200, 1_000_000])
@pytest.mark.parametrize("prefix", ["", "x0_"])
def test_every_row_has_its_own_logits(tmp_path, kind, buffer, prefix):
    path = with_teacher(tmp_path / "rows", prefix=prefix)
    feed = opened(path, kind, shuffle_buffer_rows=buffer, n_teacher=2, prefix=prefix)
    seen = 0
    for batch in feed.batches(1):
        i = batch.ids[:, 0].float()
        assert batch.teacher.dtype == torch.float32
        assert torch.equal(batch.teacher, torch.stack([i / 4, -i], 1))
        assert torch.equal(batch.numeric[:, 0], i / 2)
        seen += batch.rows
    assert seen == ROWS


@kinds
def test_without_teacher_there_are_no_logits(tmp_path, kind):
    batch = next(opened(write(tmp_path), kind).batches(0))
    assert batch.teacher is None and batch.unlabelled is None
    with pytest.raises(ValueError, match="column t0 is missing"):
        opened(tmp_path, kind, n_teacher=1)
    with pytest.raises(ValueError, match="column x0_c0 is missing"):
        opened(tmp_path, kind, prefix="x0_")


@kinds
@pytest.mark.parametrize("buffer", [100, 1_000_000])
def test_unlabelled_rows_go_round_beside_the_labelled_ones(written, kind, buffer):
    feed = both(written, kind, buffer)
    plain = opened(written / "rows", kind, shuffle_buffer_rows=buffer, n_teacher=2)
    assert isinstance(feed, UnlabelledFeed)
    assert (feed.rows, feed.steps, feed.kind) == (plain.rows, plain.steps, plain.kind)
    further = []
    for epoch in range(2):
        for batch, alone in zip(feed.batches(epoch), plain.batches(epoch), strict=True):
            assert_equal(replace(batch, unlabelled=None), alone)
            more = batch.unlabelled
            assert not more.label.any() and not more.known.any() and more.known.shape[1] == 1
            assert torch.equal(more.teacher[:, 1], -more.ids[:, 0].float())
            further.append(more.ids[:, 0])
    turn = -(-FURTHER // 48)
    turns = [torch.cat(further[at : at + turn]).tolist() for at in range(0, 32, turn)]
    assert [sorted(ids) for ids in turns] == [list(range(FURTHER))] * len(turns)
    assert turns[0] != turns[1]


@kinds
@pytest.mark.parametrize("buffer", [100, 1_000_000])
@pytest.mark.parametrize("ranks", [1, 3])
def test_an_epoch_resumes_exactly(written, kind, buffer, ranks):
    for rank in range(ranks):
        options = {"buffer": buffer, "rank": rank, "ranks": ranks}
        whole = list(both(written, kind, **options).batches(2))
        for start in (0, 1, len(whole) - 1, len(whole)):
            rest = list(both(written, kind, **options).batches(2, start))
            assert len(rest) == len(whole) - start
            for one, other in zip(rest, whole[start:], strict=True):
                assert_equal(one, other)


@pytest.mark.parametrize("buffer", [100, 1_000_000])
def test_ranks_share_the_unlabelled_rows(written, buffer):
    feeds = [both(written, "pyarrow", buffer, rank=rank, ranks=2) for rank in range(2)]
    assert feeds[0].steps == feeds[1].steps
    turn = max(feed._unlabelled.steps for feed in feeds)
    batches = [batch for feed in feeds for batch in itertools.islice(feed.batches(0), turn)]
    ids = torch.cat([batch.unlabelled.ids[:, 0] for batch in batches])
    assert sorted(ids.tolist()) == list(range(FURTHER))


def test_an_empty_second_feed_is_refused(tmp_path, written):
    with_teacher(tmp_path / "none", 0)
    empty = opened(tmp_path / "none", n_teacher=2)
    with pytest.raises(ValueError, match="unlabelled rows has no rows"):
        UnlabelledFeed(opened(written / "rows"), empty)


def test_all_of_a_batch_moves_to_another_device(written):
    batch = next(both(written, "pyarrow").batches(0)).to(torch.device("meta"))
    for part in (batch, batch.unlabelled):
        assert part.teacher.device.type == part.ids.device.type == "meta"


def test_batches_kept_for_statistics_carry_both(written):
    from memory_log import DNN, INPUTS

    from spark_ctr.networks import build_network

    network = build_network("dnn", INPUTS, DNN | {"batch_norm": True})
    feed, statistics = both(written, "pyarrow"), BatchStatistics(network)
    kept = list(statistics.batches(feed, 0, 3))
    for one, other in zip(kept, feed.batches(0, 3), strict=True):
        assert_equal(one, other)
    assert len(statistics._recent) == RECENT
