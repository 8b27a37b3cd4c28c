"""Invalid rows in transform: fail, drop and count, or keep; without running an action."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F


class InvalidRows:
    """Applies ``handleInvalid`` to rows and keeps count of what it dropped.

    Parameters
    ----------
    stage : str
        Name of the stage, for messages.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._observation: Observation | None = None

    def apply(
        self, dataset: DataFrame, invalid: Column, policy: str, reason: str, uid: str
    ) -> DataFrame:
        """Apply the policy; ``keep`` returns the dataset as it is.

        With ``skip`` the number of dropped rows becomes the observed metric ``skipped_rows`` of
        the query: see :meth:`count`, or ``observedMetrics`` in a streaming query's progress, under
        the stage's ``uid``.
        """
        if policy == "keep":
            return dataset
        invalid = F.coalesce(invalid, F.lit(True))
        if policy == "error":
            message = f"{self.stage}: {reason}; use handleInvalid='skip' or 'keep' to go on"
            # The check must be part of the filter, or the optimizer prunes it.
            return dataset.filter(
                F.when(invalid, F.raise_error(F.lit(message)).cast("boolean")).otherwise(True)
            )
        skipped = F.count(F.when(invalid, True)).alias("skipped_rows")
        if dataset.isStreaming:
            # Not the class's name: a query may hold two models of a class.
            observed = dataset.observe(f"{uid}_skipped", skipped)
        else:
            self._observation = Observation()
            observed = dataset.observe(self._observation, skipped)
        return observed.filter(~invalid)

    def count(self) -> int:
        """Rows dropped by the last transformed dataset; waits for an action on it."""
        if self._observation is None:
            raise ValueError(
                f"{self.stage} dropped nothing yet: call transform with handleInvalid='skip' first"
            )
        # Spark reports no metric where it prunes an empty dataset.
        return int(self._observation.get.get("skipped_rows", 0))
