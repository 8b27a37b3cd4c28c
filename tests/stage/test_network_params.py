"""Networks and their settings as Params, from fitting to scoring in Spark."""

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F

from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.networks import Inputs, Table
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.stage.columns import with_metadata

pytestmark = pytest.mark.once

INPUTS = Inputs((Table("site", 6, 4), Table("ad", 5, 4)), ("age",))
PLAIN = "tests.networks.own_networks:Plain"
SORTS = "tests.networks.own_networks:Sorts"


@pytest.fixture(scope="module")
def data(spark):
    rows = [([i % 6, i % 5], [i / 20], int(i % 3 == 0)) for i in range(40)]
    frame = spark.createDataFrame(rows, "a array<int>, b array<float>, label int")
    tables = [table.to_dict() for table in INPUTS.tables]
    return frame.select(
        "label",
        with_metadata(F.col("a"), "categoricalFeatures", {"tables": tables}),
        with_metadata(F.col("b"), "numericFeatures", {"names": ["age"]}),
    )


def classifier(network, **params):
    return CTRClassifier(
        network=network, maxIter=1, validationFraction=0.0, device="cpu", verbose=False, **params
    )


def test_a_module_of_ones_own_trains_is_saved_and_scores(data, tmp_path):
    model = classifier(PLAIN, networkOptions={"width": 5}).fit(data)
    assert model.torchNetwork.module.output.in_features == 6
    model.save(f"{tmp_path}/model")
    loaded = CTRClassificationModel.load(f"{tmp_path}/model", trustedModules=["tests"])
    assert loaded.getNetwork() == PLAIN and loaded.getNetworkOptions() == {"width": 5}
    scored = loaded.transform(data).select("rawPrediction", *data.columns).collect()
    ids = np.array([row["categoricalFeatures"] for row in scored], np.int32)
    numbers = np.array([row["numericFeatures"] for row in scored], np.float32)
    logits = [row["rawPrediction"][1] for row in scored]
    np.testing.assert_allclose(logits, model.predictor()(ids, numbers), rtol=1e-5)
    with pytest.raises(ValueError, match=f"network '{PLAIN}' cannot be quantised"):
        MixedPrecisionQuantizer(classifier=loaded).fit(data)


def test_the_average_of_weights_is_kept_unless_told_otherwise(data):
    network, last, averaged = (
        dict(classifier("lr", batchSize=8, seed=3, **p).fit(data).torchNetwork.named_parameters())
        for p in ({}, {"weightAveraging": False}, {"weightAveraging": True})
    )
    assert all(torch.equal(network[name], averaged[name]) for name in network)
    assert not any(torch.equal(last[name], averaged[name]) for name in last)


@pytest.mark.parametrize(
    ("stage", "error", "message"),
    [
        (
            classifier("dcnv2", networkOptions={"rank": 2}),
            ValueError,
            r"network 'dcnv2' has no \['rank'\]; its options are: context_units, cross_experts",
        ),
        (
            classifier("dnn", networkOptions={"dropout": 0.5}),
            ValueError,
            r"is a Param: dropout \(set dropout\)",
        ),
        (classifier("dnn", networkOptions={"members": 2}), ValueError, "is a Param: members"),
        (classifier("lr", networkOptions={"heads": 1}), ValueError, "its options are: none"),
        (
            classifier("lr", contextEnhancement="epnet"),
            ValueError,
            "contextEnhancement is set.*'lr'",
        ),
        (
            classifier(SORTS, contextCols=["site"]),
            ValueError,
            "contextCols is set.*context_setting",
        ),
        (
            classifier("dnn", contextCols=["site"]),
            ValueError,
            r"\['site'\], and contextEnhancement",
        ),
        (
            classifier("dnn", contextEnhancement="ppnet", contextCols=["x"]),
            ValueError,
            r"contextCols names \['x'\], and the network's columns are \['site'",
        ),
        (classifier("no_module:A"), ImportError, "cannot import 'no_module'"),
        (classifier("tests.networks.own_networks:Wide"), ValueError, r"\[B, T\]"),
        (MixedPrecisionQuantizer(classifier=classifier(SORTS)), ValueError, "'sort' is no operat"),
        (
            MixedPrecisionQuantizer(
                classifier=LayerwiseDistiller(teacher=classifier("dnn"), student=classifier(SORTS))
            ),
            ValueError,
            "own_networks:Sorts' cannot be quantised: 'sort'.*Distil",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_training(stage, error, message, data):
    def no_training(*_):
        raise AssertionError("training began")

    stage._train = no_training
    with pytest.raises(error, match=message):
        stage.fit(data)


def test_a_context_is_of_the_network_and_of_its_student(data, tmp_path):
    context = {"contextEnhancement": "pepnet", "contextCols": ["site"]}
    full = classifier("dnn", hiddenLayers=[5, 4], networkOptions={"context_units": 3}, **context)
    model = MixedPrecisionQuantizer(classifier=full, maxIter=1, binaryShare=1.0).fit(data)
    gates = {"context.columns.factors.squeeze", "mlp.gates.hidden_1.excite"}
    assert gates <= model.plan.keys() == model.packedModel.layers.keys()
    model.save(f"{tmp_path}/model")
    loaded = type(model).load(f"{tmp_path}/model")
    first, again = (m.transform(data).select("rawPrediction").collect() for m in (model, loaded))
    assert first == again
    network = full.fit(data).copy()
    assert network.getContextCols() == ["site"] and network.getContextEnhancement() == "pepnet"


def test_an_ensemble_of_any_network_is_quantised(data, tmp_path):
    options = {"second_layers": [4, 4], "first_context": ["ad"], "gate_layers": [3]}
    full = classifier("finalmlp", members=2, hiddenLayers=[5, 4], networkOptions=options)
    model = MixedPrecisionQuantizer(classifier=full, maxIter=1, binaryShare=1.0).fit(data)
    second = {f"members.{m}.second_mlp.layers.second_1.linear" for m in (0, 1)}
    assert second <= model.plan.keys() == model.packedModel.layers.keys()
    model.save(f"{tmp_path}/model")
    loaded = type(model).load(f"{tmp_path}/model")
    first, again = (m.transform(data).select("rawPrediction").collect() for m in (model, loaded))
    assert first == again


def test_an_ensemble_trains_is_saved_and_teaches(data, tmp_path):
    teacher = classifier("dnn", members=2, hiddenLayers=[6]).fit(data)
    teacher.save(f"{tmp_path}/model")
    loaded = CTRClassificationModel.load(f"{tmp_path}/model")
    assert loaded.getMembers() == 2
    assert [len(m.mlp.layers) for m in loaded.torchNetwork.members] == [1, 1]
    first, second = (
        model.transform(data).select("rawPrediction").collect() for model in (teacher, loaded)
    )
    assert first == second
    student = LayerwiseDistiller(teacher=loaded, student=classifier("dnn", hiddenLayers=[3]))
    assert student.fit(data).torchNetwork.config["hidden_layers"] == [3]


def test_a_student_has_narrower_rows_than_its_teacher(data, tmp_path):
    teacher = classifier("dnn", hiddenLayers=[6]).fit(data)
    narrow = classifier("dnn", hiddenLayers=[3], embeddingDim=2)
    student = LayerwiseDistiller(teacher=teacher, student=narrow).fit(data)
    assert [table.dim for table in student.teacher.inputs.tables] == [4, 4]
    assert student.inputs == INPUTS.at_most(2) and student.inputs.same_ids(INPUTS)
    packed = MixedPrecisionQuantizer(classifier=student, maxIter=1).fit(data)
    for model in (student, packed):
        model.save(f"{tmp_path}/{model.uid}")
        loaded = type(model).load(f"{tmp_path}/{model.uid}")
        assert loaded.getEmbeddingDim() == 2 and loaded.inputs == student.inputs
        first, again = (
            m.transform(data).select("rawPrediction").collect() for m in (model, loaded)
        )
        assert first == again
    assert narrow.setInitialModel(student).fit(data).inputs == student.inputs
    with pytest.raises(ValueError, match=r"dimensions was .*2.* in initialModel and is .*3"):
        narrow.setEmbeddingDim(3).fit(data)


def test_options_are_checked_and_copied():
    given = {"heads": 2, "first_context": ("site",)}
    stage = classifier("finalmlp", networkOptions=given)
    given["heads"] = 3
    copied = stage.copy({stage.networkOptions: {"heads": 4}})
    assert stage.getNetworkOptions() == {"heads": 2, "first_context": ["site"]}
    assert copied.network_config() == {"members": 1, "heads": 4}
    for wrong in ({1: 2}, {"a": {1, 2}}, {"a": float("nan")}, ["heads"]):
        with pytest.raises(TypeError, match="networkOptions must be"):
            classifier("finalmlp", networkOptions=wrong)
    with pytest.raises(ValueError, match="unknown network 'dcn'.*'package.module:Class'"):
        classifier("dcn")
