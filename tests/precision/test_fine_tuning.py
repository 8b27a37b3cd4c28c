"""Fine-tuning of quantised networks."""

import json
import math
from dataclasses import asdict

import pytest
import torch

from spark_ctr.networks.serialization import network_to_bytes, trusted_network_from_bytes
from spark_ctr.precision import attempts
from spark_ctr.precision.fine_tuning import fine_tune, quantisation
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.rare_rows import coarse_count
from spark_ctr.training import Checkpoints, TrainingSettings, train
from spark_ctr.training.training_run import Change, TrainedNetwork
from tests.kill_at import KillAt, Killed

# Losses of the epochs, of training and validation, when inputs came to have 8 bits.
GOLDEN = [
    (1.0207880735397339, 0.6597312702947281),
    (0.8964484333992004, 0.6634015734019165),
    (0.8592411279678345, 0.6668619714302758),
]


class OneBatch:
    """Feed of one batch."""

    steps = 1

    def __init__(self, batch):
        self.rows, self._batch = batch.rows, batch

    def batches(self, epoch, start=0):
        yield from [self._batch][start:]


PLAIN = {
    "embedding_l2": 0.0,
    "average_weights": False,
    "recalibrate": False,
    "seed": 0,
    "device": "cpu",
}


def tune(
    network,
    train_batch,
    valid_batch=None,
    *,
    tolerance=1.0,
    loss_tolerance=1e9,
    checkpoints=None,
    progress=None,
    binary_share=0.5,
    coarse_share=0.0,
    **settings,
):
    feed = OneBatch(train_batch)
    valid = feed if valid_batch is None else OneBatch(valid_batch)

    def run(asked):
        # Another process builds the network from its bytes, and so does this one.
        change = Change(**json.loads(json.dumps(asdict(asked.change))))
        network = trusted_network_from_bytes(network_to_bytes(asked.network), change)
        before = network.state_dict()
        assert all(torch.equal(before[k], v) for k, v in asked.network.state_dict().items())
        history = train(
            network,
            feed,
            valid,
            asked.settings,
            loss=asked.objective.loss(network),
            checkpoints=checkpoints,
            progress=progress,
        )
        return TrainedNetwork(network, history.to_dict(), "")

    return fine_tune(
        network,
        feed,
        valid,
        settings=TrainingSettings(**PLAIN | settings),
        epochs=3,
        learning_rate=0.01,
        binary_share=binary_share,
        coarse_share=coarse_share,
        tolerance=tolerance,
        loss_tolerance=loss_tolerance,
        activations=True,
        objective=quantisation(
            network,
            logit_weight=1.0,
            regularisation_weight=1e-4,
            prioritised_epochs=1,
            inverse_layerwise=True,
        ),
        run=run,
    )


@pytest.mark.parametrize("auc", [0.8, math.nan], ids=["both classes", "one class"])
def test_a_rise_of_the_log_loss_takes_layers_back_to_8_bits(
    auc, make_network, make_batch, monkeypatch
):
    # Of the full network, and of three attempts, rounded and trained; ranking never suffers.
    losses = [0.300, 0.400, 0.320, 0.500, 0.307, 0.305]
    found = iter([{"auc": auc, "log_loss": loss} for loss in losses])
    monkeypatch.setattr(attempts, "figures_of", lambda network, feed: next(found))
    batch = make_batch(rows=50)
    tuned = tune(make_network("dnn"), batch, tolerance=0.0, loss_tolerance=0.02)
    assert list(tuned.plan.values()).count("binary") == 0
    said = [line.partition(":")[0].rpartition(", ")[2] for line in tuned.log]
    assert [word.split()[-1] for word in said] == [
        *["rounded", "trained", "bits"] * 2,
        "rounded",
    ]
    assert "log loss 0.3200, 0.3000" in tuned.log[1]
    assert tuned.trained.history["epochs"] == []
    assert tuned.figures["quantised"]["log_loss"] == 0.305
    assert tuned.figures["full"]["log_loss"] == 0.3


def test_without_validation_rows_nothing_is_recalibrated(make_network, make_batch):
    batches = make_batch(rows=400), make_batch(rows=400, seed=1)
    network = make_network("dnn")
    with torch.no_grad():
        network.output.bias.add_(2.0)
    assert tune(network, batches[0], recalibrate=True).trained.history["recalibration"] == {}
    found = tune(network, *batches, recalibrate=True).trained.history["recalibration"]
    assert found["applied"], found
    assert found["cross_fitted"] < found["log_loss"]


def test_it_takes_no_average_of_weights(make_network, make_batch):
    weights = []
    for averaged in (False, True):
        tuned = tune(make_network("dnn"), make_batch(rows=200), average_weights=averaged)
        assert "binary" in tuned.plan.values()
        weights.append(tuned.trained.network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_killed_run_goes_on_to_the_same_bits(make_network, make_batch, tmp_path):
    def tuned(**more):
        return tune(make_network("dcnv2", dropout=0.3), make_batch(rows=200), **more).trained

    whole = tuned()
    with pytest.raises(Killed):
        tuned(checkpoints=Checkpoints(str(tmp_path)), progress=KillAt(3))
    resumed = tuned(checkpoints=Checkpoints(str(tmp_path)))
    assert resumed.history["resumed_at"] == [2]
    weights = resumed.network.state_dict()
    assert all(torch.equal(weights[k], v) for k, v in whole.network.state_dict().items())


def test_training_gives_the_figures_of_before(make_network, make_batch):
    tuned = tune(make_network("dnn"), make_batch(rows=400), make_batch(rows=300, seed=1))
    learned = [(e["train_loss"], e["valid_loss"]) for e in tuned.trained.history["epochs"]]
    assert learned == [pytest.approx(pair, rel=1e-3) for pair in GOLDEN]


def test_rare_rows_get_4_bits_where_that_is_acceptable(make_network, make_batch):
    network, batch = make_network("dnn"), make_batch(rows=200)
    tuned = tune(network, batch, coarse_share=0.3)
    rows = coarse_count(tuned.coarse)
    assert rows > 5 and tuned.log[0].startswith(f"{rows} rows of tables in 4 bits: validation AUC")
    # Trained in another process, it has them too.
    assert tuned.trained.history["epochs"]
    packed = pack_network(tuned.trained.network)
    held = [a for name, a in packed.to_arrays()[1].items() if name.endswith(".nibbles")]
    assert sum(map(len, held)) == rows
    none = tune(network, batch, coarse_share=0.3, tolerance=-1.0, binary_share=0.0)
    assert none.coarse == {} and none.log[1] == "rows of 4 bits go back to 8 bits"
    few = tune(network, batch, coarse_share=1e-9, binary_share=0.0)
    assert few.coarse == {} or coarse_count(few.coarse) < 5
