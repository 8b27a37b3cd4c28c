"""What a meta-estimator asks of the stage in one of its Params."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from pyspark.ml.param import Params

from spark_ctr.networks.network import Network
from spark_ctr.rows.training_data import TrainingColumns, TrainingData
from spark_ctr.tables import Inputs

if TYPE_CHECKING:
    from spark_ctr.estimator.params import CTRParams
    from spark_ctr.estimator.shared_work import SharedWork


class NetworkSource(Params):
    """A stage that gives a trained network: an estimator that trains one, or a fitted model."""

    def _column_owner(self) -> CTRParams:
        """Return the stage whose Params name the columns and say how training runs."""
        raise NotImplementedError

    def _training_columns(self) -> TrainingColumns:
        """Return the columns of the training files and their split."""
        return self._column_owner().training_columns()

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        """Refuse what cannot work on these columns, before anything is written.

        Returns a network like the one that comes out, trained or not. `further` are the features
        that only teachers read.
        """
        raise NotImplementedError

    def _model_for(self, data: TrainingData, work: SharedWork) -> Any:
        """Return the fitted model; an estimator trains it, once for all fits that share work."""
        raise NotImplementedError

    def _keys(self) -> list[Hashable]:
        """Return keys of all that `_model_for` makes and other stages may share."""
        raise NotImplementedError

    def _key(self) -> Hashable:
        """Return what is equal for stages that give the same network from the same rows."""
        raise NotImplementedError


def params_key(stage: Params) -> Hashable:
    """Return class, uid and Params of a stage, those of stages inside it too, as a key."""
    values = []
    for declared in stage.params:
        if stage.isDefined(declared):
            value = stage.getOrDefault(declared)
            several = value if isinstance(value, list) else [value]
            inner = [v._key() if isinstance(v, NetworkSource) else repr(v) for v in several]
            values.append((declared.name, *inner))
    return type(stage), stage.uid, tuple(values)
