"""Scores of a network of several tasks, and the stage that trains one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pyspark.ml.functions import vector_to_array
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.estimator.columns import check_outputs
from spark_ctr.networks import build_network
from spark_ctr.networks.serialization import network_to_bytes
from spark_ctr.rows.scoring import add_predictions, logit_column
from tests.stage.conftest import INPUTS

TWO = "tests.training.two_tasks:TwoTasks"


@pytest.mark.parametrize("policy", ["keep", "skip"])
def test_scores_of_each_task(small_clicks, policy):
    network = build_network(TWO, INPUTS, seed=3)
    model = CTRClassificationModel(handleInvalid=policy)._with(network, None)
    assert model.taskNames == ("click", "buy")
    ids, numbers = F.col("categoricalFeatures"), F.col("numericFeatures")
    data = small_clicks
    if policy == "skip":
        wrong = F.when(numbers[0] > 0, F.array(F.lit(99), F.lit(0))).otherwise(ids)
        data = data.withColumn("categoricalFeatures", wrong)
    logit = logit_column(data, model, network_to_bytes(network))
    scored = add_predictions(data, logit, model._rows, model, model.taskNames, {})
    names = ("rawPrediction", "probability", "prediction")
    each = [f"{name}_{task}" for task in ("click", "buy") for name in names]
    # The main task, the first one where none is named, has the plain names too.
    assert scored.columns[-9:] == [*each, *names]
    rows = scored.select(
        "categoricalFeatures",
        "numericFeatures",
        *[vector_to_array(f"probability_{task}")[1].alias(task) for task in model.taskNames],
        "prediction_buy",
        vector_to_array("probability")[1].alias("main"),
    ).toPandas()
    assert 0 < len(rows) <= 600 and (len(rows) < 600) is (policy == "skip")
    with torch.no_grad():
        expected = torch.sigmoid(
            network(
                torch.tensor(np.stack(rows["categoricalFeatures"])),
                torch.tensor(np.stack(rows["numericFeatures"]), dtype=torch.float32),
            )
        ).numpy()
    np.testing.assert_allclose(rows[["click", "buy"]].to_numpy(), expected, atol=1e-6)
    assert (rows["main"] == rows["click"]).all()
    assert (rows["prediction_buy"] == (rows["buy"] > 0.5)).all()
    if policy == "skip":
        assert model.skippedRows == 600 - len(rows)
    with pytest.raises(ValueError, match="probability_buy.*already exists"):
        check_outputs(data.withColumn("probability_buy", F.lit(1)), model, model.taskNames)


def test_a_classifier_trains_one_task(small_clicks):
    with pytest.raises(ValueError, match="tasks click, buy.*trains one"):
        CTRClassifier(network=TWO).fit(small_clicks)
