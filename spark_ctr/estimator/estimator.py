"""Base of the estimators that train on the rows of a DataFrame."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from pyspark.ml.param import Params
from pyspark.sql import DataFrame

from spark_ctr.estimator.columns import check_outputs
from spark_ctr.estimator.grid import GridFits
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.source import NetworkSource, params_key
from spark_ctr.rows.training_data import TrainingData, feature_inputs, inputs_of, training_data
from spark_ctr.stage.fit_progress import counted, working
from spark_ctr.stage.fitting import StageEstimator
from spark_ctr.stage.persistence import PersistentStage

_ROWS = "training files"


class CTREstimator(NetworkSource, PersistentStage, StageEstimator):
    """Base of estimators that train on materialised rows.

    Stages inside a stage train on the same files, and so do the points of a grid.
    """

    _work: SharedWork | None = None  # of the grid that this stage is a point of

    def fitMultiple(
        self, dataset: DataFrame, paramMaps: Sequence[dict[Any, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Fit at every point of a grid, as Estimator.fitMultiple; threads may share the iterator.

        Training files are written once for all points with the same columns and split, and a stage
        that several points train first with the same Params, such as a teacher, is trained once.
        """
        return GridFits([self.copy(point) for point in paramMaps], dataset)

    def _fit(self, dataset: DataFrame) -> Any:
        owner = self._column_owner()
        columns = self._training_columns()
        needs = self._needs()
        work = self._work or SharedWork([needs])
        with work.used_by(needs):
            inputs = inputs_of(dataset, columns)
            further = (feature_inputs(dataset, *pair) for pair in columns.further)
            network = self._check(inputs, *further)
            # Now rather than when the trained model is first used.
            check_outputs(dataset, owner, network.tasks)

            def write(opened: ExitStack) -> TrainingData:
                title = f"{type(self).__name__}, writing the rows to train on"
                with working(title, owner.getVerbose()) as result:
                    data = opened.enter_context(training_data(dataset, columns))
                    positives = [f"{t.positives:,} with {t.name} 1" for t in data.tasks]
                    if len(positives) == 1:
                        positives = [f"{data.positives:,} with label 1"]
                    result(", ".join([counted(data.rows, "row"), *positives]))
                return data

            return self._model_for(work.get(_ROWS, write), work)

    def _needs(self) -> list[Hashable]:
        """Keys of all that a fit makes, in `SharedWork`."""
        return [_ROWS, *self._keys()]

    def _keys(self) -> list[Hashable]:
        return [self._key()]

    def _key(self) -> Hashable:
        return params_key(self)

    def _model_for(self, data: TrainingData, work: SharedWork) -> Any:
        return work.get(self._key(), lambda _: self._train(data, work)).copy()

    def _train(self, data: TrainingData, work: SharedWork) -> Any:
        raise NotImplementedError

    def _dressed(self, model: Any, owner: Params) -> Any:
        """Give a model this stage's uid, the Params of a stage, and those of this one over them."""
        model._resetUid(self.uid)
        owner._copyValues(model)
        for declared in self.params:
            if model.hasParam(declared.name) and model.isSet(declared.name):
                model.clear(model.getParam(declared.name))
        return self._copyValues(model)
