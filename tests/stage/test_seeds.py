"""One seed decides every draw of a fit: first weights, order of rows, dropout, validation rows."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from spark_ctr.classification import CTRClassifier
from spark_ctr.estimator.run import _feed_arguments
from spark_ctr.networks import Inputs, Table

pytestmark = pytest.mark.once
INPUTS = Inputs((Table("site", 6, 4),), ("age",))
DATA = SimpleNamespace(
    labels=("label",),
    inputs=INPUTS,
    train_path="/train",
    valid_path="/valid",
    valid_rows=1,
    weight_scale=1.0,
    task_scales=(1.0,),
    teacher=0,
    prefix="",
)


def weights(seed):
    return CTRClassifier(seed=seed, network="dnn")._network_for(INPUTS).state_dict()


def test_first_weights_are_those_of_the_seed():
    one, again, other = weights(3), weights(3), weights(4)
    assert all(torch.equal(value, again[name]) for name, value in one.items())
    layers = [name for name in one if name.endswith("linear.weight") or "embedding" in name]
    assert len(layers) > 2
    assert not any(torch.equal(one[name], other[name]) for name in layers)


def test_rows_and_dropout_are_drawn_by_the_seed():
    stage = CTRClassifier(seed=5)
    assert stage.training_settings().seed == stage.training_columns().seed == 5
    assert {arguments["seed"] for arguments in _feed_arguments(stage, DATA)} == {5}
