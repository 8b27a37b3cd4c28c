"""Row groups read with Petastorm (0.12, pyarrow below 15)."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spark_ctr.training.feeds.block import Columns
from spark_ctr.training.feeds.source import ParquetSource, RowGroup, changed

# One worker keeps the order of row groups. Petastorm has at most workers + 2 row groups under way,
# each two messages, so this queue never fills and a failing worker never blocks on it.
_WORKERS = 1
_QUEUE = 16
# One thread and one time: catch_warnings changes the filters of the whole process.
_importing = threading.Lock()


def why_not_petastorm() -> str | None:
    """Say why Petastorm cannot be used here; None if it can."""
    # Petastorm reads through pyarrow's legacy dataset pieces, gone since pyarrow 15.
    if not hasattr(pq, "ParquetDatasetPiece"):
        return "it needs pyarrow<15"
    with _importing:
        return _why_no_import()


@cache
def _why_no_import() -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import petastorm.reader  # noqa: F401
    except (ImportError, AttributeError) as error:
        return f"importing it fails with: {error}"
    return None


def require_petastorm() -> None:
    """Raise ImportError, with the way out, where Petastorm cannot be used."""
    reason = why_not_petastorm()
    if reason:
        raise ImportError(
            f"Petastorm cannot be used with pyarrow {pa.__version__}: {reason}. Install "
            "spark_ctr[petastorm], which pins pyarrow<15, or set feed='pyarrow'"
        )


def has_cut_path(source: ParquetSource) -> bool:
    """Tell whether Petastorm cannot address a file, as it cuts a path at ``#`` and ``?``."""
    return any(set("#?") & set(url) for url in source.location.urls)


def is_remote(source: ParquetSource) -> bool:
    """Tell whether Petastorm would open the files through another library than pyarrow.fs."""
    return not all(url.startswith("file://") for url in source.location.urls)


class PetastormReader:
    """Reads the row groups of a source with ``petastorm.make_batch_reader``."""

    kind = "petastorm"

    def __init__(self, source: ParquetSource):
        require_petastorm()
        if has_cut_path(source):
            raise ValueError(
                f"Petastorm cannot read {source.location.urls[0]}: it takes no '#' or '?' in a "
                "path; rename the directory or set feed='pyarrow'"
            )
        self.source = source

    def groups(
        self, order_seed: int | None, rank: int = 0, ranks: int = 1, skip: int = 0
    ) -> Generator[Columns, None, None]:
        """Yield the row groups ``source.order(order_seed, rank, ranks)[skip:]``.

        Petastorm reads all and drops the first ``skip``, as it cannot begin later. The reader and
        its threads are stopped when the generator ends or is closed.

        Raises
        ------
        ValueError
            If a row group cannot be decoded or an id is null; names the file.
        RuntimeError
            If the files changed since they were opened.
        """
        expected = self.source.order(order_seed, rank, ranks)
        if not expected[skip:]:
            return
        reader = self._open(order_seed, rank, ranks)
        try:
            for position, group in enumerate(expected):
                columns = self._next(reader, group)
                if columns.rows != group.rows:
                    raise changed(self.source.file_of(group))
                if position >= skip:
                    yield columns
        finally:
            reader.stop()
            reader.join()

    def _open(self, order_seed: int | None, rank: int, ranks: int) -> Any:
        from petastorm import make_batch_reader

        _silence_petastorm()
        # A list of files, not the directory: Petastorm then unpickles no _common_metadata.
        return make_batch_reader(
            list(self.source.location.urls),
            schema_fields=self.source.layout.names,
            reader_pool_type="thread",
            workers_count=_WORKERS,
            results_queue_size=_QUEUE,
            num_epochs=1,
            shuffle_row_groups=False,  # the seed shuffles them already when they are sharded
            seed=order_seed,
            cur_shard=rank,
            # Petastorm refuses more shards than row groups; the ranks beyond open no reader.
            shard_count=min(ranks, len(self.source.row_groups)),
        )

    def _next(self, reader: Any, group: RowGroup) -> Columns:
        path = self.source.file_of(group)
        try:
            values = next(reader)
            return Columns.read(
                lambda name: getattr(values, name),
                self.source.layout,
            )
        except FileNotFoundError:
            raise
        except StopIteration:
            raise changed(path) from None
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ValueError(f"cannot read row group {group.index} of {path}: {error}") from error


def _silence_petastorm() -> None:
    """Ignore warnings raised from Petastorm's own modules, and only those.

    They come from its worker threads for the length of an epoch, where ``catch_warnings`` would
    change the filters of every other thread.
    """
    warnings.filterwarnings("ignore", module=r"petastorm\.")
