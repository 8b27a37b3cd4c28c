"""Feeds: every row once, in an order that (seed, epoch) alone decides."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_parquet import ROWS, assert_same_batches, first_ids, kinds, opened, petastorm_only, write

from spark_ctr.training.feeds.block import Block, Columns, Layout
from spark_ctr.training.feeds.pyarrow_feed import PyArrowReader
from spark_ctr.training.feeds.windows import windows


@kinds
@pytest.mark.parametrize("buffer", [10, 200, ROWS, 1_000_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_row_exactly_once_with_its_own_values(tmp_path, kind, buffer, shuffle):
    feed = opened(write(tmp_path), kind, shuffle=shuffle, shuffle_buffer_rows=buffer)
    assert (feed.rows, feed.kind) == (ROWS, kind)
    for epoch in range(2):
        batches = list(feed.batches(epoch))
        assert [len(b.label) for b in batches] == [64] * 15 + [40]
        ids = torch.cat([b.ids for b in batches])
        i = ids[:, 0].float()
        assert sorted(ids[:, 0].tolist()) == list(range(ROWS))
        assert (ids[:, 0].tolist() == list(range(ROWS))) is not shuffle
        assert torch.equal(ids[:, 1], -ids[:, 0])
        assert torch.equal(torch.cat([b.numeric for b in batches])[:, 0], i / 2)
        assert torch.equal(torch.cat([b.label for b in batches])[:, 0], i % 2)
        assert torch.equal(torch.cat([b.weight for b in batches]), i + 1)
    assert batches[0].ids.dtype == torch.int32
    for name in ("numeric", "label", "weight"):
        assert getattr(batches[0], name).dtype == torch.float32
    assert batches[0].ids.is_contiguous() and batches[0].numeric.shape == (64, 1)


@kinds
@pytest.mark.parametrize("buffer", [200, 1_000_000])
def test_order_depends_on_seed_and_epoch_only(tmp_path, kind, buffer):
    write(tmp_path)
    feed = opened(tmp_path, kind, shuffle_buffer_rows=buffer)
    epochs = [first_ids(feed, epoch) for epoch in range(3)]
    again = opened(tmp_path, kind, shuffle_buffer_rows=buffer)
    assert first_ids(again, 2) == epochs[2] and first_ids(again, 0) == epochs[0]
    assert first_ids(feed, 1) == epochs[1]
    assert epochs[0] != epochs[1] != epochs[2]
    for seed in (8, -7, 2**63 - 1):
        other = opened(tmp_path, kind, seed=seed, shuffle_buffer_rows=buffer)
        assert first_ids(other) not in epochs


@petastorm_only
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("buffer", [90, 400, 1_000_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_both_readers_give_identical_batches(tmp_path, buffer, shuffle, ranks):
    write(tmp_path / "plain", group=33)
    odd = write(tmp_path / "a b%20é" / "day=1", cuts=(0, 0, 300, 300, ROWS), group=33)
    for path in (tmp_path / "plain", odd, odd.as_uri(), odd / "part-00001-x.snappy.parquet"):
        feeds = [
            opened(
                path,
                kind,
                shuffle=shuffle,
                shuffle_buffer_rows=buffer,
                rank=ranks - 1,
                ranks=ranks,
            )
            for kind in ("pyarrow", "petastorm")
        ]
        for epoch in range(2):
            assert_same_batches(*(feed.batches(epoch) for feed in feeds))


@kinds
@pytest.mark.parametrize("shuffle", [True, False])
def test_order_ignores_the_cut_into_row_groups_when_all_rows_fit(tmp_path, kind, shuffle):
    one = opened(write(tmp_path / "one", (0, ROWS), ROWS), kind, shuffle=shuffle)
    many = opened(write(tmp_path / "many", (0, 1, 500, ROWS), 17), kind, shuffle=shuffle)
    assert_same_batches(one.batches(3), many.batches(3))


def test_a_buffer_smaller_than_the_data_still_mixes_row_groups(tmp_path):
    write(tmp_path, (0, 500, ROWS), 20)
    first = first_ids(opened(tmp_path, shuffle_buffer_rows=200))[:192]  # 3 batches
    assert len({i // 20 for i in first}) == 10
    assert sum(abs(a - b) > 20 for a, b in itertools.pairwise(first)) > 100


@given(
    groups=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    size=st.integers(1, 60),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_windows_keep_every_row_in_order_for_any_sizes(groups, size, data):
    total = sum(groups)
    drop = data.draw(st.integers(0, groups[0] - 1))
    every = np.arange(total, dtype=np.int32)

    def columns():
        for start, stop in itertools.pairwise(np.cumsum([0, *groups])):
            part = every[start:stop]
            yield Columns([part, -part], [], [part], part + 1)

    sizes = [min(size, total - at) for at in range(drop, total, size)]
    blocks = (Block.empty(size, Layout(2, 0)), Block.empty(size, Layout(2, 0)))
    found = []
    for block, rows in zip(windows(columns(), blocks, sizes, drop), sizes, strict=True):
        ids = block.ids[:rows]
        assert np.array_equal(ids[:, 1], -ids[:, 0]) and block.numeric.shape == (size, 0)
        assert np.array_equal(block.label[:rows, 0], ids[:, 0])
        assert np.array_equal(block.weight[:rows], block.label[:rows, 0] + 1)
        found += ids[:, 0].tolist()
    assert found == list(range(drop, total))


@kinds
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("ranks", [1, 2, 3, 20])
def test_ranks_share_every_row_and_have_equal_steps(tmp_path, kind, shuffle, ranks):
    write(tmp_path, (0, 300, 310, 310, ROWS))  # 5 + 1 + 0 + 10 row groups: 20 ranks leave 4 empty
    feeds = [
        opened(tmp_path, kind, shuffle=shuffle, shuffle_buffer_rows=256, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    for epoch in range(2):
        (steps,) = {feed.steps for feed in feeds}
        batches = [list(feed.batches(epoch)) for feed in feeds]
        assert {len(of_rank) for of_rank in batches} == {steps}
        assert feeds[0].rows == ROWS == sum(b.rows for of_rank in batches for b in of_rank)
        ids = torch.cat([b.ids[:, 0] for of_rank in batches for b in of_rank])
        assert sorted(ids.tolist()) == list(range(ROWS))
        for of_rank in batches:
            sizes = [b.rows for b in of_rank]
            assert sizes == sorted(sizes, reverse=True)  # full ones, a rest, then none
            assert of_rank[-1].ids.shape[1:] == (2,) and of_rank[-1].numeric.shape[1:] == (1,)
    assert (min(sizes) == 0) is (ranks > 2)


@kinds
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_see_together_the_batches_of_one_process(tmp_path, kind, shuffle):
    write(tmp_path)
    one = opened(tmp_path, kind, shuffle=shuffle, batch_size=96)
    three = [
        opened(tmp_path, kind, shuffle=shuffle, batch_size=32, rank=r, ranks=3) for r in range(3)
    ]
    assert {feed.steps for feed in three} == {one.steps} == {11}
    together = zip(*(feed.batches(1) for feed in three), strict=True)
    for whole, parts in zip(one.batches(1), together, strict=True):
        assert torch.equal(whole.ids, torch.cat([part.ids for part in parts]))
        assert torch.equal(whole.weight, torch.cat([part.weight for part in parts]))


@kinds
@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("buffer", [64, 300, 1_000_000])
@pytest.mark.parametrize("shuffle", [True, False])
def test_resuming_gives_the_remaining_batches(tmp_path, kind, buffer, shuffle, ranks):
    write(tmp_path)
    options = {"batch_size": 32, "shuffle": shuffle, "shuffle_buffer_rows": buffer, "ranks": ranks}
    feed = opened(tmp_path, kind, rank=ranks - 1, **options)
    whole = list(feed.batches(2))
    for start in (0, 1, 7, len(whole) - 1):
        again = opened(tmp_path, kind, rank=ranks - 1, **options)
        assert_same_batches(again.batches(2, start), whole[start:])
    assert list(feed.batches(2, len(whole))) == []


def test_resuming_decodes_only_the_row_groups_it_needs(tmp_path, monkeypatch):
    write(tmp_path, (0, ROWS), 50)
    read = []
    monkeypatch.setattr(
        PyArrowReader,
        "_read",
        lambda self, group, read_one=PyArrowReader._read: (
            read.append(group.index) or read_one(self, group)
        ),
    )
    feed = opened(tmp_path, batch_size=50, shuffle_buffer_rows=200)  # windows of 2 row groups
    assert len(list(feed.batches(0, 17))) == 3 and len(read) == 4
