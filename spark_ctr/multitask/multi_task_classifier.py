"""MultiTaskClassifier: one network for a click and what comes of it, and its model."""

from __future__ import annotations

from spark_ctr.estimator.network_classifier import NetworkClassifier, NetworkModel
from spark_ctr.multitask.params import MultiTaskParams
from spark_ctr.networks.network import Network
from spark_ctr.stage.base import param
from spark_ctr.stage.meta import stage_of
from spark_ctr.tables import Inputs
from spark_ctr.training.losses import Objective


class MultiTaskClassificationModel(MultiTaskParams, NetworkModel):
    """Fitted :class:`MultiTaskClassifier`: adds the outputs of each task, and of the main one.

    They are ``rawPrediction_TASK``, ``probability_TASK`` and ``prediction_TASK`` for each of
    `taskNames`, by the Params that name them, and the main task's under the plain names too.
    ``summary.tasks`` counts the labels of each task.
    """


class MultiTaskClassifier(MultiTaskParams, NetworkClassifier):
    """Train one network for several labels of a row, each known on some of the rows.

    A label that is null, that ``knownWhen`` says is not known, or that is younger than
    ``matureAfter`` has no part in its task's loss and figures; the row still counts for other
    tasks. Each known label weighs the same, of whatever task, times the task's weight. The best
    epoch is chosen by the mean of the tasks' figures, or by that of ``monitorTask``. All else is as
    of :class:`spark_ctr.classification.CTRClassifier`.

    Parameters
    ----------
    **kwargs
        Params by name; see :meth:`explainParams`.

    References
    ----------
    Ma et al., "Modeling task relationships in multi-task learning with multi-gate
    mixture-of-experts", KDD 2018; Tang et al., "Progressive layered extraction", RecSys 2020; Ma et
    al., "Entire space multi-task model", SIGIR 2018.
    """

    _model = MultiTaskClassificationModel

    initialModel = param(
        "initialModel",
        "fitted MultiTaskClassificationModel of the same network, tasks and columns whose weights "
        "training starts from; the optimiser starts anew",
        stage_of("initialModel", "MultiTaskClassificationModel"),
    )

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        network = super()._check(inputs, *further)
        self.main_task(network.tasks)
        watched = self._value("monitorTask")
        if watched is not None and watched not in network.tasks:
            raise ValueError(
                f"monitorTask is {watched!r}, and the tasks are {', '.join(network.tasks)}"
            )
        # A weighting that the network cannot have is found here, before any row is written.
        Objective((self.label_term(0.0),)).loss(network)
        return network

    def _check_tasks(self, network: Network) -> None:
        wanted = tuple(self.task_names())
        if network.tasks != wanted:
            raise ValueError(
                f"network '{self.getNetwork()}' has the tasks {', '.join(network.tasks)}, and the "
                f"labels are of {', '.join(wanted)}: name the tasks alike, in this order"
            )
