"""What fit and transform begin with: a running session, usable workers, words on the work."""

from __future__ import annotations

from typing import Any

from pyspark.ml import Estimator, Model
from pyspark.sql import DataFrame

from spark_ctr.stage.fit_progress import fold_of, grid_point, labelled, working
from spark_ctr.stage.python_workers import check_python_workers
from spark_ctr.stage.session import check_running


class StageEstimator(Estimator):
    """Base of all estimators."""

    _grid_point = ""

    def fit(self, dataset: DataFrame, params: Any = None) -> Any:
        """Fit to a dataset, as Estimator.fit; a session that cannot work is refused at once."""
        if isinstance(params, dict) and params:
            return self.copy(params).fit(dataset)
        if isinstance(params, (list, tuple)):
            return super().fit(dataset, params)  # comes back here for every grid point
        check_running(dataset)
        check_python_workers(dataset.sparkSession)
        fold = fold_of(self.uid, self._grid_point, dataset.columns)
        with labelled(", ".join(filter(None, [fold, self._grid_point]))):
            doing = self._doing(dataset)
            if doing is None:
                return super().fit(dataset)
            shown = self.getOrDefault("verbose")
            with working(f"{type(self).__name__}, {doing}", shown) as result:
                model = super().fit(dataset)
                result(self._done(model))
                return model

    def copy(self, extra: Any = None) -> Any:
        """Copy with ``extra`` Params, which are remembered as the grid point of a later fit."""
        copied = super().copy(extra)
        if extra:
            copied._grid_point = grid_point(extra)
        return copied

    def _doing(self, dataset: DataFrame) -> str | None:
        """Say what the fit does; None where `_fit` reports by itself."""
        return None

    def _done(self, model: Any) -> str:
        """Say what a finished fit has counted."""
        return ""


class StageModel(Model):
    """Base of all models."""

    def transform(self, dataset: DataFrame, params: Any = None) -> DataFrame:
        """Transform a dataset, as Transformer.transform; one of a stopped session is refused."""
        check_running(dataset)
        return super().transform(dataset, params)
