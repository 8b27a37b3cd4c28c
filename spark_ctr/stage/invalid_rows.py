"""Invalid rows in transform: fail, drop and count, or keep; without running an action."""

from __future__ import annotations

import threading
import uuid
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F


class InvalidRows:
    """Applies ``handleInvalid`` to rows and counts, when asked, what it dropped.

    The number is that of the invalid rows in the dataset that was transformed last, counted by a
    job of its own: what a query reports of itself is missing where Spark cut rows out of it, or
    where it failed or never ran. A thread is told of the dataset that it transformed itself, if it
    transformed any. The count is not part of a copy by pickle or deepcopy.

    Parameters
    ----------
    stage : str
        Name of the stage, for messages.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._last: _Dropped | None = None
        self._of_thread = threading.local()

    def apply(
        self,
        dataset: DataFrame,
        invalid: Column,
        policy: str,
        reason: str,
        uid: str,
        counted: DataFrame | None = None,
    ) -> DataFrame:
        """Apply the policy; ``keep`` returns the dataset as it is.

        With ``skip`` the number of dropped rows becomes the observed metric ``skipped_rows`` of
        the query: in a streaming query's progress it stands under the stage's ``uid``.

        Parameters
        ----------
        dataset : DataFrame
        invalid : Column
            Boolean; null is invalid.
        policy : {"error", "skip", "keep"}
        reason : str
            What makes a row invalid, for the error.
        uid : str
        counted : DataFrame, optional
            The invalid rows, where there is a cheaper way to find them.
        """
        invalid = F.coalesce(invalid, F.lit(True))
        self._last = self._of_thread.last = _Dropped(
            (dataset.filter(invalid) if counted is None else counted) if policy == "skip" else None
        )
        if policy == "keep":
            return dataset
        if policy == "error":
            message = f"{self.stage}: {reason}; use handleInvalid='skip' or 'keep' to go on"
            # The check must be part of the filter, or the optimizer prunes it.
            return dataset.filter(
                F.when(invalid, F.raise_error(F.lit(message)).cast("boolean")).otherwise(True)
            )
        skipped = F.count(F.when(invalid, True)).alias("skipped_rows")
        # Not the class's name: a query may hold two models of a class, or two datasets of a model.
        name = f"{uid}_skipped" if dataset.isStreaming else f"{uid}_skipped_{uuid.uuid4().hex}"
        # Batches need the metric too: it keeps Spark from pushing the filter below what makes the
        # scores, which would then be made twice.
        return dataset.observe(name, skipped).filter(~invalid)

    def count(self) -> int:
        """Count the invalid rows of the dataset transformed last; runs a job the first time.

        Raises
        ------
        ValueError
            If nothing was transformed, the dataset is a stream or cannot be read any more.
        """
        last = getattr(self._of_thread, "last", self._last)
        if last is None:
            raise ValueError(
                f"{self.stage} dropped nothing yet: call transform with handleInvalid='skip' first"
            )
        return last.count(self.stage)

    def __getstate__(self) -> dict[str, Any]:
        return {"stage": self.stage}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["stage"])  # type: ignore[misc]


class _Dropped:
    """Rows that one transform drops, and their number once it is counted."""

    def __init__(self, rows: DataFrame | None) -> None:
        self._rows = rows
        self._count = 0 if rows is None else None

    def count(self, stage: str) -> int:
        if self._count is None:
            rows = self._rows
            assert rows is not None
            if rows.isStreaming:
                raise ValueError(
                    f"{stage} cannot count what it drops from a stream: each batch's number is in "
                    "the query's progress, under observedMetrics"
                )
            try:
                self._count = rows.count()
            except Exception as error:
                cause = (str(error).strip().splitlines() or [""])[0]
                raise ValueError(
                    f"{stage} cannot count what it dropped, as the dataset transformed last cannot "
                    f"be read any more ({type(error).__name__}: {cause[:300]})"
                ) from error
            self._rows = None
        return self._count
