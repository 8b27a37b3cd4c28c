"""Feeds: every row once, in an order that (seed, epoch) alone decides, leaving nothing behind."""

import gc
import itertools
import logging
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spark_ctr.training.feeds import feed as feed_module
from spark_ctr.training.feeds import open_feed, petastorm_feed
from spark_ctr.training.feeds.block import Block, Columns
from spark_ctr.training.feeds.petastorm_feed import why_not_petastorm
from spark_ctr.training.feeds.pyarrow_feed import PyArrowReader
from spark_ctr.training.feeds.windows import windows

NO_PETASTORM = why_not_petastorm()
petastorm_only = pytest.mark.skipif(NO_PETASTORM is not None, reason=f"Petastorm: {NO_PETASTORM}")
kinds = pytest.mark.parametrize(
    "kind", ["pyarrow", pytest.param("petastorm", marks=petastorm_only)]
)
ROWS = 1000


def rows_table(start, stop, tables=2, numeric=1):
    """Row i holds i in c0, -i in the other ids, i/2 in the numeric columns."""
    i = np.arange(start, stop)
    columns = {f"c{j}": (i if j == 0 else -i).astype(np.int32) for j in range(tables)}
    columns |= {f"n{j}": (i / 2).astype(np.float32) for j in range(numeric)}
    columns |= {"label": (i % 2).astype(np.float32), "weight": (i + 1).astype(np.float32)}
    return pa.table({"unused": [str(v) for v in i], **columns})


def write(directory, cuts=(0, 300, 310, ROWS), group=70, **shape):
    directory.mkdir(parents=True, exist_ok=True)
    for part, (start, stop) in enumerate(itertools.pairwise(cuts)):
        path = directory / f"part-{part:05d}-x.snappy.parquet"
        pq.write_table(rows_table(start, stop, **shape), path, row_group_size=group)
    (directory / "_SUCCESS").touch()
    (directory / ".part-00000.crc").write_bytes(b"x")
    return directory


def opened(path, kind="pyarrow", n_ids=2, n_numeric=1, **options):
    options = {"batch_size": 64, "shuffle": True, "seed": 7, **options}
    return open_feed(path, n_ids, n_numeric, kind=kind, **options)


def first_ids(feed, epoch=0):
    return torch.cat([batch.ids[:, 0] for batch in feed.batches(epoch)]).tolist()


def assert_same_batches(left, right):
    left, right = list(left), list(right)
    assert len(left) == len(right) > 0
    for a, b in zip(left, right, strict=True):
        for name in ("ids", "numeric", "label", "weight"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def open_files():
    return len(os.listdir("/proc/self/fd"))


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
        assert torch.equal(torch.cat([b.label for b in batches]), i % 2)
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
            yield Columns([part, -part], [], part, part + 1)

    sizes = [min(size, total - at) for at in range(drop, total, size)]
    blocks = (Block.empty(size, 2, 0), Block.empty(size, 2, 0))
    found = []
    for block, rows in zip(windows(columns(), blocks, sizes, drop), sizes, strict=True):
        ids = block.ids[:rows]
        assert np.array_equal(ids[:, 1], -ids[:, 0]) and block.numeric.shape == (size, 0)
        assert np.array_equal(block.label[:rows], ids[:, 0])
        assert np.array_equal(block.weight[:rows], block.label[:rows] + 1)
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
        (steps,) = {feed.steps(epoch) for feed in feeds}
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
    assert {feed.steps(1) for feed in three} == {one.steps(1)} == {11}
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


@kinds
def test_later_epochs_read_no_file_when_all_rows_fit(tmp_path, kind):
    feed = opened(write(tmp_path), kind)
    before = first_ids(feed)
    batch = next(feed.batches(0))
    batch.ids.zero_()  # a batch is a copy of the kept rows
    for file in tmp_path.glob("part-*"):
        file.unlink()
    assert first_ids(feed) == before


@kinds
@pytest.mark.parametrize("buffer", [80, 1_000_000])
def test_stopping_early_leaves_no_thread_and_no_file(tmp_path, kind, buffer):
    feed = opened(write(tmp_path, group=20), kind, batch_size=16, shuffle_buffer_rows=buffer)
    threads, files = threading.active_count(), open_files()
    for taken in (1, 3, 20):
        batches = feed.batches(0)
        for _ in range(taken):
            next(batches)
        batches.close()
        assert threading.active_count() == threads and open_files() == files
    with pytest.raises(ZeroDivisionError):
        for _ in feed.batches(1):
            raise ZeroDivisionError
    gc.collect()
    assert threading.active_count() == threads and open_files() == files


@kinds
@pytest.mark.parametrize("buffer", [100, 1_000_000])
def test_twenty_epochs_keep_threads_and_files_flat(tmp_path, kind, buffer):
    feed = opened(write(tmp_path), kind, shuffle_buffer_rows=buffer)
    first_ids(feed)
    threads, files = threading.active_count(), open_files()
    for epoch in range(20):
        assert len(first_ids(feed, epoch)) == ROWS
        assert threading.active_count() == threads and open_files() == files


@kinds
def test_memory_is_flat_over_twenty_epochs(tmp_path, kind):
    """In a process of its own; 20 epochs that are kept would be 200 MiB."""
    write(tmp_path, (0, 70_000, 140_000), 7_000, tables=15)
    script = f"""
import psutil
from spark_ctr.training.feeds import open_feed
feed = open_feed({str(tmp_path)!r}, 15, 1, kind={kind!r}, batch_size=1024, shuffle=True, seed=0,
                 shuffle_buffer_rows=40_000)
for epoch in range(22):
    assert sum(batch.rows for batch in feed.batches(epoch)) == 140_000
    if epoch == 1:
        before = psutil.Process().memory_info().rss
print(psutil.Process().memory_info().rss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # jemalloc, pyarrow's allocator on some stacks, gives pages back late: up to 70 MiB were seen.
    assert int(done.stdout) < 120 * 2**20


@kinds
def test_nothing_is_warned_and_no_warning_filter_of_others_is_touched(tmp_path, kind):
    feed = opened(write(tmp_path), kind)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first_ids(feed)
        warnings.warn("mine", FutureWarning, stacklevel=1)
    assert [str(w.message) for w in caught] == ["mine"]


@kinds
def test_no_tables_or_no_numeric_columns(tmp_path, kind):
    write(tmp_path, tables=0, numeric=0)
    for buffer in (90, ROWS):
        feed = opened(tmp_path, kind, n_ids=0, n_numeric=0, shuffle_buffer_rows=buffer)
        batches = list(feed.batches(0))
        assert batches[0].ids.shape == (64, 0) and batches[-1].numeric.shape == (40, 0)
        assert sorted(torch.cat([b.weight for b in batches]).tolist()) == list(range(1, ROWS + 1))


@kinds
def test_no_rows_no_batches(tmp_path, kind):
    (tmp_path / "none").mkdir()
    for path in (tmp_path / "none", write(tmp_path / "zero", (0, 0, 0))):
        feed = opened(path, kind)
        assert feed.rows == 0 and list(feed.batches(0)) == []


@kinds
def test_double_columns_are_narrowed_and_null_floats_become_nan(tmp_path, kind):
    table = rows_table(0, 3).set_column(3, "n0", pa.array([0.5, None, 2.5], pa.float64()))
    pq.write_table(table, tmp_path / "part-0.parquet")
    (batch,) = opened(tmp_path, kind, shuffle=False).batches(0)
    expected = torch.tensor([0.5, float("nan"), 2.5])
    assert torch.equal(batch.numeric[:, 0].nan_to_num(-1), expected.nan_to_num(-1))


@kinds
def test_missing_path_and_column_and_wrong_type_are_named(tmp_path, kind):
    with pytest.raises(FileNotFoundError, match="no such file or directory: .*nowhere"):
        opened(tmp_path / "nowhere", kind)
    write(tmp_path)
    with pytest.raises(ValueError, match="column c2 is missing from .*part-00000-x"):
        opened(tmp_path, kind, n_ids=3)
    wrong = rows_table(0, 3).set_column(1, "c0", pa.array([1, 2, 3], pa.int64()))
    pq.write_table(wrong, tmp_path / "part-00009.parquet")
    with pytest.raises(ValueError, match="column c0 of .*part-00009.parquet is int64; cast"):
        opened(tmp_path, kind)


@kinds
def test_truncated_file_is_named(tmp_path, kind):
    victim = sorted(write(tmp_path).glob("part-*"))[1]
    whole = victim.read_bytes()
    for kept in (0, 3, len(whole) // 2):
        victim.write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=f"{victim.name} is not a complete Parquet file"):
            opened(tmp_path, kind)


@kinds
@pytest.mark.parametrize("buffer", [100, 1_000_000])
def test_failing_reads_name_the_file_and_leave_no_thread(tmp_path, kind, buffer):
    victim = sorted(write(tmp_path).glob("part-*"))[2]
    threads = threading.active_count()
    feed = opened(tmp_path, kind, shuffle_buffer_rows=buffer)
    content = bytearray(victim.read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    victim.write_bytes(content)
    with pytest.raises(ValueError, match=f"cannot read row group .* of .*{victim.name}"):
        first_ids(feed)
    nulls = rows_table(0, 3).set_column(1, "c0", pa.array([1, None, 3], pa.int32()))
    pq.write_table(nulls, victim)
    with pytest.raises(ValueError, match=f"{victim.name}: column c0 holds nulls"):
        first_ids(opened(tmp_path, kind, shuffle_buffer_rows=buffer))
    assert threading.active_count() == threads


def test_bad_arguments_are_refused(tmp_path):
    for options, message in [
        ({"kind": "csv"}, "kind must be one of auto, petastorm, pyarrow, not 'csv'"),
        ({"batch_size": 0}, "batch_size"),
        ({"shuffle_buffer_rows": 0}, "shuffle_buffer_rows"),
        ({"rank": 2, "ranks": 2}, r"rank must be from 0 to ranks - 1 \(1\), not 2"),
    ]:
        with pytest.raises(ValueError, match=message):
            opened(tmp_path, **options)


def test_fsspec_url(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(write(tmp_path / "log")), "/bucket/log", recursive=True)
    feed = opened("memory://bucket/log", "auto", shuffle=False)
    assert feed.kind == "pyarrow" and first_ids(feed) == list(range(ROWS))
    with pytest.raises(FileNotFoundError, match="memory://bucket/none"):
        opened("memory://bucket/none")


def test_file_url_without_authority_and_relative_path(tmp_path, monkeypatch):
    write(tmp_path / "log")
    monkeypatch.chdir(tmp_path)
    for path in (f"file:{tmp_path}/log", f"file://{tmp_path}/log/", "log", "log/"):
        assert first_ids(opened(path, shuffle=False)) == list(range(ROWS))


def test_auto_says_once_what_it_took(tmp_path, caplog):
    feed_module._say_once.cache_clear()
    expected = "pyarrow" if NO_PETASTORM else "petastorm"
    with caplog.at_level(logging.INFO, logger="spark_ctr"):
        feeds = [opened(write(tmp_path), "auto") for _ in range(3)]
    assert {feed.kind for feed in feeds} == {expected}
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"reading training data with {expected}")


def test_auto_leaves_paths_petastorm_would_cut_to_pyarrow(tmp_path):
    feed = opened(write(tmp_path / "a#b?c"), "auto")
    assert feed.kind == "pyarrow" and len(first_ids(feed)) == ROWS


@petastorm_only
def test_petastorm_refuses_paths_it_would_cut(tmp_path):
    with pytest.raises(ValueError, match="no '#' or '[?]' in a path"):
        opened(write(tmp_path / "a#b"), "petastorm")


def test_petastorm_that_cannot_be_used_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.delattr(petastorm_feed.pq, "ParquetDatasetPiece", raising=False)
    message = rf"pyarrow {pa.__version__}: .*pyarrow<15.*spark_ctr\[petastorm\].*feed='pyarrow'"
    with pytest.raises(ImportError, match=message):
        opened(write(tmp_path), "petastorm")
    assert opened(tmp_path, "auto").kind == "pyarrow"
