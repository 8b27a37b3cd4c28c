"""CTRClassifier: a torch network trained from Spark data, and its model."""

from __future__ import annotations

from spark_ctr.estimator.network_classifier import NetworkClassifier, NetworkModel
from spark_ctr.estimator.params import ClickParams
from spark_ctr.networks.network import Network
from spark_ctr.stage.base import param
from spark_ctr.stage.meta import stage_of


class CTRClassificationModel(ClickParams, NetworkModel):
    """Fitted :class:`CTRClassifier`: adds rawPrediction, probability and prediction.

    ``LayerwiseDistiller`` returns one too, the student; right after fitting, ``teacher`` is the
    model it learned from (it is not saved with the student). A model whose ``network`` is an import
    path is loaded only where its module is trusted: ``load(path, trustedModules=["clicks"])``.
    """


class CTRClassifier(ClickParams, NetworkClassifier):
    """Train a click-through-rate network on the columns of HashedEmbeddingEncoder.

    Training runs in the driver's process, or in ``numWorkers`` Spark tasks, and reads Parquet files
    that the dataset is written to, so the data need not fit in memory. The weights of the best
    epoch on the validation rows are kept. For one seed the result on a CPU is the same on every
    run, however the dataset is partitioned, and that of several workers is that of one up to
    rounding and dropout while the rows fit ``shuffleBufferRows``.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Wang et al., "DCN V2", WWW 2021; Guo et al., "DeepFM", IJCAI 2017.
    """

    _model = CTRClassificationModel

    initialModel = param(
        "initialModel",
        "fitted CTRClassificationModel of the same network and columns whose weights training "
        "starts from; the optimiser starts anew",
        stage_of("initialModel", "CTRClassificationModel"),
    )

    def _check_tasks(self, network: Network) -> None:
        if len(network.tasks) > 1:
            raise ValueError(
                f"network '{self.getNetwork()}' has the tasks {', '.join(network.tasks)}, and "
                "CTRClassifier trains one: choose a network of one task, or take "
                "spark_ctr.multitask.MultiTaskClassifier"
            )
