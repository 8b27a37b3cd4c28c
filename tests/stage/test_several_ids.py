"""Training data, training and scoring in Spark where columns hold several ids a row."""

import numpy as np
import pytest
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassifier
from spark_ctr.networks import PADDING, Inputs, Table
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.rows.training_data import training_data
from spark_ctr.stage.columns import with_metadata
from spark_ctr.training.feeds import open_feed

pytestmark = pytest.mark.once

INPUTS = Inputs(
    (
        Table("site", 6, 4, slots=2),
        Table("ad", 5, 4, slots=2, signed=True),
        Table("words", 4, 2, slots=3, padded=True, pooling="sum"),
    ),
    ("age",),
)
GOOD = [
    [5, 0, -5, 4, PADDING, 3, 0],
    [0, 5, 4, -5, PADDING, PADDING, PADDING],
    [1, 1, -1, -1, 0, 1, 2],
]
# What the invalid id is read as is 0, the missing value's row.
BAD = {
    "unsigned": ([1, -1, 1, 1, 1, 1, 1], 1),
    "beyond": ([1, 6, 1, 1, 1, 1, 1], 1),
    "below": ([1, 1, 1, -6, 1, 1, 1], 3),
    "no padding": ([1, 1, PADDING, 1, 1, 1, 1], 2),
    "padded": ([1, 1, 1, 1, 1, -1, 1], 5),
    "null": ([1, 1, 1, 1, 1, 1, None], 6),
    "short": ([1, 1, 1, 1, 1, 1], 6),
}
LONG = [1] * 8


def dataset(spark, ids):
    """Rows of given ids, their labels in turn."""
    rows = [(i, list(row), [0.5], i % 2) for i, row in enumerate(ids)]
    data = spark.createDataFrame(rows, "row int, a array<int>, b array<float>, label int")
    tables = [{**table.to_dict(), "private": 1} for table in INPUTS.tables]
    return data.select(
        "row",
        "label",
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": ["age"]}),
    )


def classifier(**settings):
    return CTRClassifier(
        network="dnn",
        hiddenLayers=[4],
        maxIter=1,
        validationFraction=0.0,
        device="cpu",
        verbose=False,
        **settings,
    )


def written(data, stage):
    """Ids in the training files, as the feed reads them."""
    with training_data(data, stage.training_columns()) as files:
        assert files.inputs == INPUTS
        feed = open_feed(
            files.train_path, INPUTS.ids_width, 1, batch_size=100, shuffle=False, seed=0
        )
        (batch,) = feed.batches(0)
    return sorted(batch.ids.tolist())


def test_ids_reach_the_feed_slot_by_slot(spark):
    assert written(dataset(spark, GOOD), classifier()) == sorted(GOOD)


def test_invalid_ids_are_found_slot_by_slot(spark):
    bad = [row for row, _ in BAD.values()]
    data = dataset(spark, [*GOOD, *bad, LONG])
    with pytest.raises(ValueError, match=rf"{len(bad) + 1} of .* rows are invalid \(features"):
        classifier().fit(data)
    assert written(data, classifier(handleInvalid="skip")) == sorted(GOOD)
    kept = [[*row, None][:7] for row in bad]
    for row, (_, slot) in zip(kept, BAD.values(), strict=True):
        row[slot] = 0
    found = written(data, classifier(handleInvalid="keep"))
    assert found == sorted([*GOOD, *kept, LONG[:7]])


def test_models_score_in_spark_as_outside_of_it(spark):
    data = dataset(spark, GOOD * 8)
    model = MixedPrecisionQuantizer(classifier=classifier(), maxIter=1).fit(data)
    numbers = np.full((len(GOOD), 1), 0.5, np.float32)
    full = model.fullPrecisionModel
    for scorer in (model, full):
        rows = scorer.transform(dataset(spark, GOOD)).orderBy("row").collect()
        logits = [row["rawPrediction"][1] for row in rows]
        expected = scorer.predictor()(np.array(GOOD, np.int32), numbers)
        assert scorer.inputs == INPUTS
        np.testing.assert_allclose(logits, expected, rtol=1e-5)
    bad = dataset(spark, [*GOOD, *(row for row, _ in BAD.values()), LONG])
    kept = full.copy().setHandleInvalid("skip").transform(bad)
    assert sorted(row["row"] for row in kept.collect()) == list(range(len(GOOD)))


def test_a_model_refuses_tables_that_differ_in_their_slots(spark):
    model = classifier().fit(dataset(spark, GOOD * 4))
    other = [table.to_dict() | {"signed": True} for table in INPUTS.tables]
    data = dataset(spark, GOOD)
    changed = with_metadata(F.col("categoricalFeatures"), "categoricalFeatures", {"tables": other})
    with pytest.raises(ValueError, match="use the encoder it was trained with"):
        model.transform(data.select("row", changed, "numericFeatures"))
