"""Params made from settings: declared once, refusing the same values, unset where not given."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.classification import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation import LayerwiseDistiller
from spark_ctr.networks import NETWORKS, Inputs, Table, build_network
from spark_ctr.networks.settings import MEMBERS
from spark_ctr.precision.settings import FINE_TUNING, OBJECTIVE, TARGETS
from spark_ctr.quantization import MixedPrecisionQuantizer
from spark_ctr.settings import SEED
from spark_ctr.training.distillation import DISTILLATION
from spark_ctr.training.settings import TRAINING, TrainingSettings
from tests.persistence.saved_models import FORMAT1

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("spark")]

PARAMS = {
    "learning_rate": "learningRate",
    "optimizer": "optimizer",
    "batch_size": "batchSize",
    "max_epochs": "maxIter",
    "patience": "patience",
    "weight_decay": "weightDecay",
    "embedding_l2": "embeddingRegularization",
    "clip_norm": "clipNorm",
    "learning_rate_decay": "learningRateDecay",
    "schedule": "learningRateSchedule",
    "warmup_steps": "warmupSteps",
    "average_weights": "weightAveraging",
    "monitor": "monitor",
    "recalibrate": "recalibrate",
    "seed": "seed",
    "device": "device",
    "precision": "precision",
}
SHAPE = {
    "hiddenLayers": "hidden_layers",
    "crossLayers": "cross_layers",
    "dropout": "dropout",
    "batchNorm": "batch_norm",
}
INPUTS = Inputs((Table("site", 6, 4), Table("ad", 5, 4)), ("age",))
VALUES = st.one_of(
    st.floats(),
    st.integers(-3, 2**63),
    st.booleans(),
    st.sampled_from(["auto", "cpu", "adam", "plateau", "auc", "float32", "", "other"]),
    st.sampled_from([np.float32(0.5), np.int64(3), np.bool_(True), [1], (), object()]),
)


def outcome(call):
    """What a call returns, or how its error goes on after the name."""
    try:
        return call()
    except (TypeError, ValueError) as error:
        return type(error), str(error).partition(" must be ")[2]


def test_every_setting_of_training_is_a_param():
    stage = CTRClassifier()
    assert TRAINING.keys() == {field.name for field in fields(TrainingSettings)}
    # What patience looks at is for stages with an objective of their own, and a task to watch for
    # those of several.
    assert PARAMS.keys() == TRAINING.keys() - {"patience_on", "monitored_task"}
    assert "patience_on" not in stage.setting_values(TRAINING)
    for key, name in PARAMS.items():
        assert stage.getParam(name).doc == TRAINING[key].doc != ""
        assert stage._value(name) == TRAINING[key].default
        assert TRAINING[key].doc in TrainingSettings.__doc__
    assert stage.training_settings() == TrainingSettings()
    assert stage.getParam("members").doc == MEMBERS.doc and stage.getMembers() == MEMBERS.default
    assert stage.getSeed() == SEED.default


@pytest.mark.parametrize(
    ("stage", "settings", "names"),
    [
        (
            LayerwiseDistiller,
            DISTILLATION,
            "logitWeight hiddenWeight hiddenEpochs logitLoss temperature unlabelledWeight "
            "layerPairing embeddingWeight crossWeight labelWeight",
        ),
        (
            MixedPrecisionQuantizer,
            OBJECTIVE,
            "logitWeight binaryRegularization prioritizedEpochs inverseLayerwise",
        ),
        (
            MixedPrecisionQuantizer,
            FINE_TUNING,
            "maxIter learningRate binaryShare tolerance lossTolerance quantizeActivations "
            "coarseShare",
        ),
    ],
)
def test_settings_of_losses_are_params(stage, settings, names):
    default = stage()
    for name, (key, setting) in zip(names.split(), settings.items(), strict=True):
        assert default.getParam(name).doc == setting.doc != ""
        assert default._value(name) == setting.default == default.setting_values(settings)[key]
    assert stage(logitWeight=0.25).getLogitWeight() == 0.25


def test_targets_are_params_that_are_unset():
    stage = MixedPrecisionQuantizer()
    names = {"targetLatency": "microseconds", "maxBytes": "nbytes"}
    assert list(names.values()) == list(TARGETS) and stage.setting_values(TARGETS) == {}
    for name, key in names.items():
        assert stage.getParam(name).doc == TARGETS[key].doc != ""
        assert not stage.isDefined(name)
    assert stage.setMaxBytes(2000).setting_values(TARGETS) == {"nbytes": 2000}
    for wrong in ({"maxBytes": 0}, {"maxBytes": 1.5}, {"targetLatency": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MixedPrecisionQuantizer(**wrong)


@given(st.sampled_from(sorted(PARAMS)), VALUES)
def test_training_and_params_accept_the_same_values(key, value):
    def by_param():
        return CTRClassifier(**{PARAMS[key]: value}).training_settings()

    found, wanted = outcome(by_param), outcome(lambda: TrainingSettings(**{key: value}))
    assert found == wanted
    if isinstance(wanted, TrainingSettings):
        kind = float if key == "clip_norm" else type(TRAINING[key].default)
        assert type(getattr(found, key)) is kind


@given(st.sampled_from(sorted(SHAPE)), st.one_of(VALUES, st.lists(st.integers(-1, 9))))
def test_networks_and_params_accept_the_same_values(name, value):
    key = SHAPE[name]
    found = outcome(lambda: CTRClassifier(**{name: value}).network_config()[key])
    assert found == outcome(lambda: build_network("dcnv2", INPUTS, {key: value}).config[key])


def test_errors_name_the_param():
    for params, message in (
        ({"learningRate": 0}, "learningRate must be above 0.0: 0"),
        ({"maxIter": 1.5}, "maxIter must be a whole number: 1.5"),
        ({"clipNorm": math.inf}, "clipNorm must be finite: inf"),
        ({"dropout": 1.0}, "dropout must be below 1.0: 1.0"),
        ({"hiddenLayers": [8, 0]}, r"hiddenLayers must be a list of positive ints: \[8, 0\]"),
        ({"batchNorm": 1}, "batchNorm must be a bool: 1"),
        ({"monitor": "f1"}, "monitor must be one of 'auc', 'log_loss': 'f1'"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            CTRClassifier(**params)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_unset_is_the_networks_own(name):
    stage = CTRClassifier(network=name)
    own = build_network(name, INPUTS).config
    assert build_network(name, INPUTS, stage.network_config()).config == own
    for param, key in SHAPE.items():
        assert not stage.isDefined(param)
        if key in own:
            assert stage.getOrDefault(param) == own[key]
            assert f"(default: {own[key]})" in stage.explainParam(param)
        else:
            with pytest.raises(ValueError, match=f"{param} is unset: network '{name}' has no"):
                stage.getOrDefault(param)
            assert "(default: none)" in stage.explainParam(param)


def test_what_is_set_can_be_unset():
    stage = CTRClassifier(hiddenLayers=np.array([8, 4]), clipNorm=2)
    assert stage.getHiddenLayers() == [8, 4] and stage.training_settings().clip_norm == 2.0
    copied = stage.copy({stage.hiddenLayers: None, stage.clipNorm: None})
    assert copied.getHiddenLayers() == [400, 400] and not copied.isSet("hiddenLayers")
    assert copied.training_settings().clip_norm is None
    stage.clear(stage.hiddenLayers)
    stage.getHiddenLayers().append(1)
    assert stage.setClipNorm(None).getHiddenLayers() == [400, 400]
    assert not stage._paramMap
    assert "default: [400, 400]" in stage.explainParams()


def test_an_import_path_is_not_imported_to_be_explained():
    stage = CTRClassifier(network="no_module:A", dropout=0.5)
    assert "(undefined)" in stage.explainParam("hiddenLayers")
    assert "(current: 0.5)" in stage.explainParam("dropout")


def test_a_model_has_what_its_network_has():
    network = build_network("dnn", INPUTS, {"hidden_layers": [3], "dropout": 0.0}, seed=1)
    model = CTRClassificationModel(network="dnn")._with(network, None)
    assert model.getHiddenLayers() == [3] and model.getDropout() == 0.0
    model.getHiddenLayers().append(1)
    assert network.config["hidden_layers"] == [3]


def test_defaults_of_an_earlier_version_are_kept(tmp_path):
    MixedPrecisionQuantizer.load(str(FORMAT1 / "quantizer")).save(str(tmp_path / "again"))
    for path in (FORMAT1 / "quantizer", tmp_path / "again"):
        earlier = MixedPrecisionQuantizer.load(str(path)).getClassifier()
        earlier.clear(earlier.hiddenLayers)
        earlier.setNetwork("fibinet").clear(earlier.batchNorm)
        # What its Params said then, not what the network declares now.
        assert earlier.network_config() == {
            "hidden_layers": [400, 400],
            "dropout": 0.2,
            "batch_norm": True,
            "members": 1,
        }
        assert earlier.getCrossLayers() == 3
        assert "(default: [400, 400])" in earlier.explainParam("hiddenLayers")
