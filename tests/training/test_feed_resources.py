"""Feeds: what they keep, leave behind, refuse and say."""

import gc
import logging
import subprocess
import sys
import threading
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from small_parquet import (
    NO_PETASTORM,
    ROWS,
    first_ids,
    kinds,
    open_files,
    opened,
    petastorm_only,
    rows_table,
    write,
)

from spark_ctr.training.feeds import feed as feed_module
from spark_ctr.training.feeds import petastorm_feed


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
