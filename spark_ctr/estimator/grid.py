"""Fits of one estimator at several grid points, for ``fitMultiple``."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame

from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.rows.training_columns import TrainingColumns

if TYPE_CHECKING:
    from spark_ctr.estimator.estimator import CTREstimator


class GridFits(Iterator[tuple[int, Any]]):
    """Fitted models with their numbers, as threads ask for them.

    Stages that train on the same columns share the training files, and those that train the same
    stage first, a teacher say, share its model. Where the iterator is dropped early, its files go.

    Parameters
    ----------
    stages : sequence of CTREstimator
        Copies of one stage, that nobody else has.
    dataset : DataFrame
    """

    def __init__(self, stages: Sequence[CTREstimator], dataset: DataFrame) -> None:
        self._lock = threading.Lock()
        self._numbered = enumerate(stages)
        self._dataset = dataset
        groups: dict[TrainingColumns, list[CTREstimator]] = {}
        for stage in stages:
            columns = stage._training_columns()
            groups.setdefault(columns, []).append(stage)
        self._works = []
        for group in groups.values():
            work = SharedWork([stage._needs() for stage in group])
            self._works.append(work)
            for stage in group:
                stage._work = work
        weakref.finalize(self, _give_up, self._works)

    def __next__(self) -> tuple[int, Any]:
        with self._lock:
            number, stage = next(self._numbered)
        try:
            return number, stage.fit(self._dataset)
        except BaseException:
            _give_up(self._works)
            raise


def _give_up(works: Iterable[SharedWork]) -> None:
    for work in works:
        work.give_up()
