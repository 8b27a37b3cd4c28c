"""A day of clicks, the next day with new values, and a fit that goes on from the first."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.tuning import CrossValidator

from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.feature import HashedEmbeddingEncoder
from spark_ctr.rows.training_data import inputs_of

pytestmark = pytest.mark.once
ROWS = 3000
SITES, NEW_SITES = 60, 20


@pytest.fixture(scope="module")
def days(spark, tmp_path_factory):
    """Two days of one law of clicks; on the second a quarter of the sites are new."""
    draw = np.random.default_rng(3)
    effect = draw.normal(0, 1.5, SITES + NEW_SITES)
    ads = draw.normal(0, 1, 10)
    days = []
    for day, sites in enumerate((SITES, SITES + NEW_SITES)):
        site = draw.integers(day * NEW_SITES, sites, ROWS)
        ad = draw.integers(0, 10, ROWS)
        click = draw.random(ROWS) < 1 / (1 + np.exp(2 - effect[site] - ads[ad]))
        rows = [
            (i, f"site {s}", f"ad {a}", int(c))
            for i, (s, a, c) in enumerate(zip(site, ad, click, strict=True))
        ]
        folder = f"{tmp_path_factory.mktemp('days')}/{day}"
        spark.createDataFrame(rows, "row int, site string, ad string, label int").write.parquet(
            folder
        )
        days.append(spark.read.parquet(folder))
    return days


def classifier(**settings):
    defaults = {
        "network": "dnn",
        "hiddenLayers": [16],
        "maxIter": 1,
        "batchSize": 256,
        "learningRate": 1e-3,
        "validationFraction": 0.3,
        "device": "cpu",
        "verbose": False,
    }
    return CTRClassifier(**defaults | settings)


@pytest.fixture(scope="module")
def first(days):
    """Encoder and classifier of the first day."""
    encoder = HashedEmbeddingEncoder(inputCols=["site", "ad"], numericCols=[]).fit(days[0])
    return encoder, classifier(maxIter=4, learningRate=0.01).fit(encoder.transform(days[0]))


@pytest.fixture(scope="module")
def encoder(days, first):
    """Encoder of the second day."""
    stage = HashedEmbeddingEncoder(inputCols=["site", "ad"], numericCols=[], initialModel=first[0])
    return stage.fit(days[1])


def scores(model, data):
    rows = model.transform(data).select("row", "rawPrediction").orderBy("row").collect()
    return np.array([row["rawPrediction"][1] for row in rows])


def test_the_second_day_starts_where_the_first_ended_and_goes_further(days, first, encoder):
    stage = classifier(initialModel=first[1])
    second = encoder.transform(days[1])
    before = scores(first[1], first[0].transform(days[0]))
    untrained = CTRClassificationModel()._with(
        stage._network_for(inputs_of(second, stage.training_columns())), None
    )
    assert [t.private for t in untrained.inputs.tables] == [SITES + NEW_SITES, 10]
    np.testing.assert_array_equal(scores(untrained, encoder.transform(days[0])), before)
    # A new site scores as any unknown one did.
    unseen = days[1].filter(f"int(substring(site, 6)) >= {SITES}")
    np.testing.assert_array_equal(
        scores(untrained, encoder.transform(unseen)), scores(first[1], first[0].transform(unseen))
    )
    fitted, scratch = (s.fit(second) for s in (stage, classifier()))
    assert not fitted.hasParam("initialModel")
    assert [t.private for t in fitted.inputs.tables] == [SITES + NEW_SITES, 10]
    auc = [m.summary.history["epochs"][0]["valid_auc"] for m in (fitted, scratch)]
    assert auc[0] > auc[1] + 0.01
    with pytest.raises(ValueError, match="of other values|use the encoder it was trained with"):
        first[1].transform(second)


def test_what_does_not_go_on_from_the_first_day_is_refused_before_training(days, first, encoder):
    stage = classifier(initialModel=first[1])
    anew = HashedEmbeddingEncoder(inputCols=["site", "ad"], numericCols=[]).fit(days[1])
    with pytest.raises(ValueError, match="'site'.*do not go on from those of initialModel"):
        stage.fit(anew.transform(days[1]))
    with pytest.raises(ValueError, match="hidden_layers was .16. in initialModel and is .8."):
        stage.copy().setHiddenLayers([8]).fit(encoder.transform(days[1]))
    with pytest.raises(TypeError, match="initialModel must be a CTRClassificationModel"):
        stage.setInitialModel(classifier())


def test_the_initial_model_survives_saving_copies_and_cross_validation(
    days, first, encoder, tmp_path
):
    # The earlier model's own stage goes on from it, so both have one uid.
    stage = classifier(initialModel=first[1])
    stage._resetUid(first[1].uid)
    data = encoder.transform(days[1]).filter("row < 300")
    stage.save(f"{tmp_path}/stage")
    loaded = CTRClassifier.load(f"{tmp_path}/stage")
    assert loaded.getInitialModel().to_bytes() == first[1].to_bytes()
    wanted = stage.fit(data).to_bytes()
    assert loaded.copy().fit(data).to_bytes() == wanted != first[1].to_bytes()
    validator = CrossValidator(
        estimator=stage,
        estimatorParamMaps=[{stage.learningRate: 1e-3}],
        evaluator=BinaryClassificationEvaluator(),
    )
    validator.save(f"{tmp_path}/cv")
    again = CrossValidator.load(f"{tmp_path}/cv")
    assert again.getEstimator().getInitialModel().to_bytes() == first[1].to_bytes()
    assert again.getEstimatorParamMaps() == validator.getEstimatorParamMaps()
