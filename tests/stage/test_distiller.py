"""LayerwiseDistiller: teachers of all kinds, starts, rows nobody saw, and what it brought."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F
from small_classifier import classifier

from spark_ctr.classification import CTRClassificationModel
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.estimator import estimator
from spark_ctr.networks import Inputs, Table
from spark_ctr.networks.ensemble import Ensemble
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.stage.columns import with_metadata
from tests.stage.conftest import with_late_features

pytestmark = pytest.mark.once


def distiller(teacher=None, **params):
    student = classifier(network="dnn", hiddenLayers=[4], maxIter=2)
    chosen = {"recombine": False, "compareWithLabels": False} | params
    return LayerwiseDistiller(teacher=teacher, student=student, **chosen)


def teacher(**params):
    return classifier(**{"network": "dnn", "maxIter": 2, **params})


def weights(model):
    return {key: value.clone() for key, value in model.torchNetwork.state_dict().items()}


@pytest.fixture(scope="module")
def fitted(small_clicks):
    return teacher(maxIter=4).fit(small_clicks)


@pytest.fixture(scope="module")
def later_clicks(small_clicks):
    """The log with features that are known only after the impression: a teacher's."""
    return with_late_features(small_clicks, "label * 5 + pmod(hash(numericFeatures), 2)")


def test_without_a_teacher_it_is_an_ensemble_of_three(small_clicks):
    stage = distiller(maxIter=1)
    stage.getStudent().setMaxIter(1)
    model = stage.fit(small_clicks)
    network = model.teacher.torchNetwork
    assert isinstance(network, Ensemble) and len(network.members) == 3
    assert (network.name, network.config["hidden_layers"]) == ("dcnv2", [400, 400])
    assert model.summary.extra["start"] == ["tables"]
    assert [*stage._default_teacher().extractParamMap()] and not stage.isSet("teacher")


def test_the_student_starts_from_its_teacher(small_clicks, fitted):
    label_only = classifier(network="dnn", hiddenLayers=[4], maxIter=0).fit(small_clicks)
    starts = {s: distiller(fitted, start=s, maxIter=0) for s in ("none", "tables", "layers")}
    models = {start: stage.fit(small_clicks) for start, stage in starts.items()}
    drawn, from_tables, from_layers = map(weights, models.values())
    assert all(torch.equal(v, drawn[k]) for k, v in weights(label_only).items())
    moved = {k for k, v in from_tables.items() if not torch.equal(v, drawn[k])}
    assert moved == {"embedding.weights.0.weight", "embedding.weights.1.weight"}
    assert not torch.equal(from_layers["mlp.layers.hidden_0.linear.weight"],
                           drawn["mlp.layers.hidden_0.linear.weight"])  # fmt: skip
    wanted, near, far = (
        np.array([row.rawPrediction[1] for row in model.transform(small_clicks).collect()])
        for model in (fitted, models["layers"], models["none"])
    )
    assert np.mean((near - wanted) ** 2) < 0.5 * np.mean((far - wanted) ** 2)
    assert [models[s].summary.extra.get("start") for s in starts] == [
        None, ["tables"], ["tables", "layers"],
    ]  # fmt: skip


def test_several_teachers_are_followed_in_the_mean_and_saved(small_clicks, fitted, tmp_path):
    other = classifier(network="deepfm", maxIter=1).fit(small_clicks)
    stage = distiller([fitted, other], labelWeight=0.0, maxIter=30)
    stage.write().save(f"{tmp_path}/stage")
    loaded = LayerwiseDistiller.load(f"{tmp_path}/stage")
    assert [one.uid for one in loaded.getTeacher()] == [fitted.uid, other.uid]
    assert type(loaded.getTeacher()[0]) is CTRClassificationModel
    model = stage.fit(small_clicks)
    assert model.summary.extra["teachers"] == [fitted.uid, other.uid]
    scored = {
        name: np.array([row.rawPrediction[1] for row in one.transform(small_clicks).collect()])
        for name, one in (("student", model), ("one", fitted), ("two", other))
    }
    mean = (scored["one"] + scored["two"]) / 2
    assert np.corrcoef(scored["student"], mean)[0, 1] > 0.9
    again = loaded.fit(small_clicks)
    assert all(torch.equal(v, weights(model)[k]) for k, v in weights(again).items())
    copied = stage.copy({other.batchSize: 7})
    assert copied.getTeacher()[1].getBatchSize() == 7 and copied.getTeacher()[0] is not fitted


def test_a_teacher_may_know_what_comes_later(later_clicks, tmp_path):
    late = teacher(categoricalFeaturesCol="lateIds", numericFeaturesCol="lateNumbers", maxIter=5)
    model = distiller(late).fit(later_clicks)
    assert [t.name for t in model.teacher.inputs.tables] == ["site", "late"]
    assert [t.name for t in model.inputs.tables] == ["site", "ad"]
    assert model.teacher.summary.rows == model.summary.rows
    # It tells labels from what it sees, and the student cannot read that.
    assert model.teacher.summary.history["epochs"][-1]["valid_auc"] > 0.9
    assert "start" not in model.summary.extra
    model.write().save(f"{tmp_path}/student")
    alone = CTRClassificationModel.load(f"{tmp_path}/student")
    shown = later_clicks.drop("lateIds", "lateNumbers")
    assert alone.transform(shown).count() == 600
    packed = MixedPrecisionQuantizer(classifier=alone, maxIter=1, tolerance=1.0, lossTolerance=1e9)
    assert packed.fit(shown).transform(shown).count() == 600


def test_it_says_what_it_brought_and_tries_mixed_rows(small_clicks, fitted, caplog):
    stage = LayerwiseDistiller(
        teacher=fitted,
        student=classifier(network="dnn", hiddenLayers=[4], maxIter=2),
        columnGroups=[["site"], ["ad", "age"]],
    )
    with caplog.at_level(logging.INFO, "spark_ctr"):
        model = stage.fit(small_clicks)
    extra = model.summary.extra
    assert extra["columns"] == [["site"], ["ad", "age"]]
    assert extra["recombined"]["used"] == (
        extra["recombined"]["with"] < 0.995 * extra["recombined"]["without"]
    )
    best = model.summary.history["epochs"][model.summary.history["best_epoch"]]
    assert extra["distilled"] == {
        "auc": best["valid_auc"],
        "log_loss": best["valid_loss"],
        "calibration": best["valid_calibration"],
    }
    assert (
        f"{extra['label_only']['auc']:.4f}" in extra["verdict"] and extra["verdict"] in caplog.text
    )
    assert "log loss is" in caplog.text and "mixed rows" in caplog.text
    forced = stage.copy({stage.recombine: True, stage.compareWithLabels: False})
    assert "recombined" not in forced.fit(small_clicks).summary.extra


def test_rows_without_labels_are_followed(small_clicks, fitted):
    stage = distiller(fitted)
    plain = stage.fit(small_clicks)
    more = stage.copy().setUnlabelled(small_clicks.drop("label").limit(100))
    assert not torch.equal(
        weights(more.fit(small_clicks))["output.bias"], weights(plain)["output.bias"]
    )
    assert more.copy()._unlabelled is more._unlabelled and more._key() != stage._key()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"layerPairing": [7], "hiddenWeight": 0.1}, "hidden"),
        ({"layerPairing": [7]}, r"pairing \[7\] does not fit"),
        ({"targetShare": 0.1, "targetLatency": 2.0}, "targetLatency or targetShare"),
        ({"crossWeight": 0.1, "teacher": "two"}, "crossWeight follow"),
        ({"teacher": "weighted"}, "agree on weightCol"),
        ({"teacher": "other tables"}, "other embedding tables"),
        ({"labelWeight": 0.0, "logitWeight": 0.0}, "both 0"),
        ({"unlabelled": "no ages"}, "setUnlabelled"),
        ({"unlabelled": "no ids"}, "categoricalFeatures"),
    ],
)
def test_what_cannot_work_is_named_before_any_work(
    small_clicks, fitted, monkeypatch, params, message
):
    other = Inputs((Table("site", 7, 4), Table("ad", 5, 2)), ("age",))
    encoded = small_clicks.select(
        "label",
        with_metadata(
            F.col("categoricalFeatures"),
            "categoricalFeatures",
            {"tables": [table.to_dict() for table in other.tables]},
        ),
        "numericFeatures",
    )
    without = with_metadata(F.array().cast("array<float>"), "numericFeatures", {"names": []})
    given = {
        "two": [fitted, fitted],
        "weighted": teacher(weightCol="w"),
        "no ages": small_clicks.select("categoricalFeatures", without),
        "no ids": small_clicks.select("numericFeatures"),
    }
    if params.get("teacher") == "other tables":
        given["other tables"] = classifier(network="dnn", maxIter=0).fit(encoded)
    rest = {k: v for k, v in params.items() if k not in ("teacher", "unlabelled")}
    stage = distiller(given.get(params.get("teacher"), fitted), **rest)
    stage.setUnlabelled(given.get(params.get("unlabelled")))

    def never(*_):
        raise AssertionError("rows were written")

    monkeypatch.setattr(estimator, "training_data", never)
    with pytest.raises((ValueError, TypeError), match=message):
        stage.fit(small_clicks)


def test_the_size_follows_the_target(small_clicks, fitted, monkeypatch):
    from spark_ctr.distillation import layerwise_distiller

    asked = {}
    pick = layerwise_distiller.pick

    def picked(*arguments, **options):
        asked.update(options)
        return pick(*arguments, **options, measure=lambda _, inputs: float(inputs.width))

    monkeypatch.setattr(layerwise_distiller, "pick", picked)
    monkeypatch.setattr(layerwise_distiller, "time_per_row", lambda *_: 40.0)
    model = distiller(fitted, targetShare=0.25, maxIter=1).fit(small_clicks)
    assert (asked["teacher_time"], asked["target_share"]) == (40.0, 0.25)
    sizes = model.summary.extra["sizes"]
    assert sizes["target_us"] == 10.0 and sizes["teacher_us"] == 40.0
    assert model.getHiddenLayers() == list(sizes["hidden_layers"])
    assert max(table.dim for table in model.inputs.tables) <= sizes["embedding_dim"]


@pytest.mark.parametrize("value", [[["site"], ["site"]], [["site", 3]], ["site"], "site"])
def test_groups_are_lists_of_names(value):
    with pytest.raises((TypeError, ValueError), match="columnGroups"):
        LayerwiseDistiller(columnGroups=value)
    with pytest.raises(ValueError, match="empty list"):
        LayerwiseDistiller(teacher=[])
