"""What the fits of a grid need alike: made once, by the fit that needs it first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any


class SharedWork:
    """Training files and trained models that fits share, whichever threads they run in.

    What was made is let go when the last fit that needs it has ended; after a fit has failed, as
    soon as no fit uses it.

    Parameters
    ----------
    needs : iterable of collection
        Keys of what each of the fits needs.
    """

    def __init__(self, needs: Iterable[Collection[Hashable]]) -> None:
        self._lock = threading.Lock()
        self._to_come = Counter(key for keys in needs for key in keys)
        self._running: Counter[Hashable] = Counter()
        self._made: dict[Hashable, tuple[Future[Any], ExitStack]] = {}
        self._given_up = False

    @contextmanager
    def used_by(self, keys: Collection[Hashable]) -> Iterator[None]:
        """Run one of the fits, which needs these keys."""
        with self._lock:
            self._to_come.subtract(keys)
            self._running.update(keys)
        try:
            yield
        except BaseException:
            self._given_up = True
            raise
        finally:
            with self._lock:
                self._running.subtract(keys)
            self._let_go()

    def get(self, key: Hashable, make: Callable[[ExitStack], Any]) -> Any:
        """Return what was made under a key; who comes first makes it, and others wait for it.

        Parameters
        ----------
        key : hashable
        make : callable
            Takes a stack for what is to be closed when it is let go. Its error is everybody's.
        """
        with self._lock:
            first = key not in self._made
            if first:
                self._made[key] = Future(), ExitStack()
            future, opened = self._made[key]
        if first:
            try:
                future.set_result(make(opened))
            except BaseException as error:
                opened.close()
                future.set_exception(error)
        return future.result()

    def give_up(self) -> None:
        """Let go of all that no fit uses, whatever was to come."""
        self._given_up = True
        self._let_go()

    def _let_go(self) -> None:
        with self._lock:
            # A failure is kept: a later fit would fail as well, and perhaps after hours.
            over = [
                self._made.pop(key)
                for key, (future, _) in list(self._made.items())
                if not self._running[key]
                and (self._given_up or not self._to_come[key])
                and future.done()
                and not future.exception()
            ]
        for _, opened in over:
            opened.close()
