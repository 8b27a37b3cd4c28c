"""Base of the estimators that train on the rows of a DataFrame."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pyspark.sql import DataFrame

from spark_ctr.estimator.columns import check_outputs
from spark_ctr.estimator.params import CTRParams
from spark_ctr.rows.training_data import TrainingData, inputs_of, training_data
from spark_ctr.stage.fit_progress import counted, working
from spark_ctr.stage.fitting import StageEstimator
from spark_ctr.stage.persistence import PersistentStage
from spark_ctr.tables import Inputs


class CTREstimator(PersistentStage, StageEstimator):
    """Base of estimators that train on materialised rows; their nesting shares one copy."""

    def _fit(self, dataset: DataFrame) -> Any:
        owner = self._column_owner()
        columns = owner.training_columns()
        self._check(inputs_of(dataset, columns))
        check_outputs(dataset, owner)  # now rather than when the trained model is first used
        title = f"{type(self).__name__}, writing the rows to train on"
        with ExitStack() as opened:
            with working(title, owner.getVerbose()) as result:
                data = opened.enter_context(training_data(dataset, columns))
                result(f"{counted(data.rows, 'row')}, {data.positives:,} with label 1")
            return self._train(data)

    def _column_owner(self) -> CTRParams:
        """Return the stage whose Params name the columns."""
        raise NotImplementedError

    def _check(self, inputs: Inputs) -> None:
        """Refuse settings that cannot work, before anything is written."""

    def _train(self, data: TrainingData) -> Any:
        raise NotImplementedError
