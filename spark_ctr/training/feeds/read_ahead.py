"""Run an iterator in a background thread, a bounded number of items ahead."""

from __future__ import annotations

import threading
from collections.abc import Generator
from queue import Empty, Queue
from typing import TypeVar

T = TypeVar("T")
_END = object()


class _Failure:
    """An exception on its way from the thread to the consumer."""

    def __init__(self, error: BaseException):
        self.error = error


def read_ahead(items: Generator[T, None, None], depth: int) -> Generator[T, None, None]:
    """Yield the items of a generator that runs ``depth`` items ahead in a thread.

    The thread has ended, and ``items`` is closed, once this generator is exhausted or closed.

    Parameters
    ----------
    items : generator
    depth : int
        Items kept ready, at least 1.

    Raises
    ------
    BaseException
        Whatever ``items`` raises, in the consumer's thread.
    """
    queue: Queue = Queue(maxsize=depth)
    stop = threading.Event()

    def run() -> None:
        last: object = _END
        try:
            for item in items:
                if stop.is_set():
                    break
                queue.put(item)
        except BaseException as error:
            last = _Failure(error)
        finally:
            items.close()
        if not stop.is_set():
            queue.put(last)

    thread = threading.Thread(target=run, name="spark_ctr-read-ahead", daemon=True)
    thread.start()
    try:
        while (item := queue.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        # Room for the one put that may be under way: the thread checks `stop` before the next.
        while True:
            try:
                queue.get_nowait()
            except Empty:
                break
        thread.join()
