"""ProbabilityCalibrator against the pure mathematics, and what it does with odd rows."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from pyspark.ml.functions import array_to_vector
from pyspark.sql import functions as F
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from spark_ctr.calibration import ProbabilityCalibrator, ProbabilityCalibratorModel
from spark_ctr.calibration_curves import METHODS, SlotStatistics, fit_calibration

rng = np.random.default_rng(8)
ROWS, SLOTS = 6000, 20
SLOT = (SLOTS * rng.random(ROWS) ** 2).astype(int)
Z = rng.normal(-1.5, 1.2, ROWS)
P = expit(Z)
Y = (rng.random(ROWS) < expit(Z + 0.6 * np.sin(SLOT))).astype(int)


@pytest.fixture(scope="module")
def scored(spark):
    """Scores that are too low in some slots and too high in others."""
    columns = (np.arange(ROWS), SLOT, P, Y, 1.0 + SLOT % 3)
    rows = [
        (int(i), int(s), float(p), int(y), float(w)) for i, s, p, y, w in zip(*columns, strict=True)
    ]
    return spark.createDataFrame(
        rows, "row int, slot int, score double, click int, weight double"
    ).cache()


def calibrator(**kwargs):
    """Return a calibrator of the score by slot."""
    named = {"probabilityCol": "score", "labelCol": "click", "slotCols": ["slot"]}
    return ProbabilityCalibrator(verbose=False, **{**named, **kwargs})


@pytest.fixture(scope="module")
def model(scored):
    """The default calibrator, fitted."""
    return calibrator().fit(scored)


def values(out, name="calibratedProbability"):
    """Column of the rows in their order."""
    found = [row[name] for row in out.orderBy("row").select(name).collect()]
    return found if None in found else np.array(found)


def test_spark_finds_what_numpy_finds(model, scored):
    statistics = SlotStatistics.of_rows(P, Y, SLOT)
    fitted = model._fitted
    own = {int(fitted.names[int(key)][0]): key for key in fitted.calibration.keys}
    keys = np.array([own[slot] for slot in SLOT])
    assert fitted.statistics.rows.sum() == ROWS and fitted.statistics.slots == len(np.unique(SLOT))
    assert sorted(fitted.statistics.predicted) == pytest.approx(sorted(statistics.predicted), 1e-6)
    theirs = fit_calibration(SlotStatistics.of_rows(P, Y, keys))(P, keys)
    assert values(model.transform(scored)) == pytest.approx(theirs, abs=1e-6)
    assert values(model.transform(scored)) == pytest.approx(fitted.calibration(P, keys), rel=1e-9)


@pytest.mark.parametrize("method", sorted({*METHODS} - {"isotonic"}))
def test_every_curve_is_the_same_expression(model, scored, method):
    curve = fit_calibration(model._fitted.statistics, method, "none")
    other = model.copy()._with(type(model._fitted)(curve, names=model._fitted.names))
    found = values(other.transform(scored.limit(200)))
    assert found == pytest.approx(curve(P[:200]), rel=1e-9)


def test_order_within_a_slot_stays(model, scored):
    found = values(model.transform(scored))
    for slot in (0, 1, 7):
        rows = slot == SLOT
        assert roc_auc_score(Y[rows], found[rows]) == roc_auc_score(Y[rows], P[rows])
    by_slot = [found[slot == SLOT].sum() / Y[slot == SLOT].sum() for slot in range(5)]
    raw = [P[slot == SLOT].sum() / Y[slot == SLOT].sum() for slot in range(5)]
    assert np.abs(np.log(by_slot)).max() < 0.08 < np.abs(np.log(raw)).max()


def test_slots_without_values_of_their_own_take_the_global_curve(model, scored, spark):
    edge = [0.0, 1e-20, 0.3, 1.0]
    rows = [(i, slot, p) for i, p in enumerate(edge) for slot in (None, 999)]
    out = model.transform(spark.createDataFrame(rows, "row int, slot int, score double"))
    found = np.array([row.calibratedProbability for row in out.collect()]).reshape(4, 2)
    wanted = model._fitted.calibration(edge)
    assert found[:, 0] == pytest.approx(wanted, rel=1e-9) and (found[:, 0] == found[:, 1]).all()


def test_slots_may_come_in_another_type(model, scored):
    texts = scored.limit(300).withColumn("slot", F.col("slot").cast("string"))
    assert (values(model.transform(texts)) == values(model.transform(scored.limit(300)))).all()


def test_vectors_come_back_as_vectors(model, scored):
    p = F.col("score")
    rows = scored.limit(300)
    vectors = rows.withColumn("score", array_to_vector(F.array(1 - p, p)))
    found = np.array([list(v) for v in values(model.transform(vectors))])
    assert found.shape == (300, 2) and found.sum(1) == pytest.approx(1.0)
    assert (found[:, 1] == values(model.transform(rows))).all()
    broken = vectors.withColumn(
        "score",
        F.when(F.col("row") == 0, F.lit(None))
        .when(F.col("row") == 1, array_to_vector(F.array(F.lit(0.5))))
        .when(F.col("row") == 2, array_to_vector(F.array(F.lit(0.5), F.lit(float("nan")))))
        .otherwise(F.col("score")),
    )
    kept = values(model.copy().setHandleInvalid("keep").transform(broken))
    assert [row is None for row in kept[:4]] == [True, True, True, False]
    dropped = model.copy().setHandleInvalid("skip")
    assert dropped.transform(broken).count() == 297 and dropped.skippedRows == 3


def test_report_of_slots(model):
    rows = {int(row.slot): row for row in model.slots.collect()}
    assert rows[3].rows == rows[3].weight == (SLOT == 3).sum()
    assert rows[3].clicks == Y[SLOT == 3].sum()
    assert rows[3].predicted == pytest.approx(P[SLOT == 3].sum(), rel=1e-6)
    assert np.sign(rows[5].offset) == np.sign(np.sin(5.0)) and 0.3 < rows[5].slope < 2
    assert 0.2 < model.shrinkage["offset_deviation"] < 0.8


def test_a_refresh_is_a_fit_of_both_halves(model, scored):
    halves = scored.filter("row < 3000"), scored.filter("row >= 3000")
    first = calibrator().fit(halves[0])
    both = calibrator(initialModel=first).fit(halves[1])
    calibration = both._fitted.calibration
    assert calibration.offset == pytest.approx(model._fitted.calibration.offset)
    faded = calibrator(initialModel=first, forgetting=0.25).fit(halves[1])
    assert faded._fitted.statistics.rows.sum() == pytest.approx(3000 + 750)
    gone = calibrator(initialModel=first, forgetting=0.0).fit(halves[1].filter("slot < 3"))
    assert {row.slot for row in gone.slots.collect()} == {"0", "1", "2"}
    with pytest.raises(ValueError, match="numBins is 64, but 128 in initialModel"):
        calibrator(initialModel=first, numBins=64).fit(scored)
    with pytest.raises(ValueError, match="slotCols names .*, but .*'slot'.* in initialModel"):
        calibrator(initialModel=first, slotCols=["slot", "row"]).fit(scored)


def test_a_refresh_may_lack_clicks(model, scored):
    quiet = scored.filter("click = 0").limit(50)
    with pytest.raises(ValueError, match="50 zeros and 0 ones; calibration needs both"):
        calibrator().fit(quiet)
    fitted = calibrator(initialModel=model).fit(quiet)
    assert fitted._fitted.statistics.rows.sum() == ROWS + 50


def test_weights_of_zero_are_named(scored):
    nothing = scored.withColumn("weight", F.lit(0.0))
    with pytest.raises(ValueError, match=r"'weight' \(weightCol\) are 0 for all zeros"):
        calibrator(weightCol="weight").fit(nothing)
    some = scored.withColumn("weight", F.when(F.col("slot") == 2, 0.0).otherwise(1.5))
    fitted = calibrator(weightCol="weight").fit(some)
    rows = {int(row.slot): row for row in fitted.slots.collect()}
    assert (rows[2].weight, rows[2].offset, rows[2].slope) == (0.0, 0.0, 1.0)
    assert rows[3].weight == 1.5 * rows[3].rows


def test_bad_rows_are_counted_by_their_column(scored):
    bad = scored.withColumn("score", F.when(F.col("row") < 5, 2.0).otherwise(F.col("score")))
    bad = bad.withColumn("click", F.when(F.col("row") == 9, 7).otherwise(F.col("click")))
    with pytest.raises(ValueError, match="1 row with a label in 'click'.*5 rows with a score in"):
        calibrator().fit(bad)
    assert calibrator(handleInvalid="skip").fit(bad).skippedInFit == 6


def test_rows_to_calibrate_on_are_named_or_a_warning_is_given(scored, caplog):
    held = scored.withColumn("held_out", F.when(F.col("row") % 2 == 0, F.col("row") < 4000))
    with caplog.at_level(logging.WARNING, "spark_ctr"):
        fitted = calibrator(calibrationIndicatorCol="held_out").fit(held)
        assert not caplog.records
        calibrator().fit(held.limit(500))
    assert "cannot know whether" in caplog.text and "'score'" in caplog.text
    assert fitted._fitted.statistics.rows.sum() == 2000
    with pytest.raises(ValueError, match="no rows with a true 'held_out'"):
        calibrator(calibrationIndicatorCol="held_out").fit(held.filter("not held_out"))
    with pytest.raises(TypeError, match="'row' .calibrationIndicatorCol."):
        calibrator(calibrationIndicatorCol="row").fit(held)


def test_without_slots_there_is_one_curve(scored, tmp_path):
    fitted = ProbabilityCalibrator(probabilityCol="score", labelCol="click", verbose=False)
    found = fitted.fit(scored)
    assert found.slots.count() == 0 and found.shrinkage == {}
    found.save(f"{tmp_path}/model")
    loaded = ProbabilityCalibratorModel.load(f"{tmp_path}/model")
    few = scored.limit(100)
    assert (values(loaded.transform(few)) == values(found.transform(few))).all()


def test_a_damaged_state_is_refused(model):
    state, payload = model._state()
    empty = ProbabilityCalibratorModel()
    for wrong, message in (
        ({"bins": 4}, "bin outside"),
        ({"curve": "beta"}, "two slopes"),
        ({"shrinkage": {"offset_deviation": -1.0}}, "positive"),
        ({"rows": -1}, "rows of the state"),
    ):
        with pytest.raises(ValueError, match=message):
            empty._restore({**state, **wrong}, payload)
    with pytest.raises(ValueError, match="texts of"):
        empty._restore(state, payload | {"slots.json": b"[]"})
    with pytest.raises(ValueError, match="damaged"):
        empty._restore(state, payload | {"sums.safetensors": b"no"})
    empty._restore(state, payload)
    assert empty._state()[1] == payload
