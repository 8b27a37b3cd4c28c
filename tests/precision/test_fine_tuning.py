"""Fine-tuning of quantised networks."""

import torch

from spark_ctr.precision.fine_tuning import QuantizationLoss, fine_tune
from spark_ctr.training import TrainingSettings
from spark_ctr.training.progress import Progress


class OneBatch:
    """Feed of one batch."""

    steps = 1

    def __init__(self, batch):
        self.rows, self._batch = batch.rows, batch

    def batches(self, epoch, start=0):
        yield from [self._batch][start:]


def test_it_takes_no_average_of_weights(make_network, make_batch):
    weights = []
    for averaged in (False, True):
        feed = OneBatch(make_batch(rows=200))
        tuned = fine_tune(
            make_network("dnn"),
            feed,
            feed,
            settings=TrainingSettings(device="cpu", average_weights=averaged),
            epochs=3,
            learning_rate=0.01,
            binary_share=0.5,
            tolerance=1.0,
            loss=QuantizationLoss.factory(
                logit_weight=1.0,
                regularisation_weight=1e-4,
                prioritised_epochs=1,
                inverse_layerwise=True,
            ),
            progress=lambda title: Progress(),
        )
        assert "binary" in tuned.plan.values()
        weights.append(tuned.network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
