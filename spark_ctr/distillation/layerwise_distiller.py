"""LayerwiseDistiller: train a teacher, then a small student that follows it layer by layer."""

from __future__ import annotations

from spark_ctr.classification.ctr_classifier import CTRClassificationModel, CTRClassifier
from spark_ctr.estimator.estimator import CTREstimator
from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.source import NetworkSource
from spark_ctr.networks.network import Network
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.stage.base import Stage, param, setting_param
from spark_ctr.stage.meta import MetaStage, stage_of
from spark_ctr.tables import Inputs
from spark_ctr.training.distillation import DISTILLATION, distillation
from spark_ctr.training.losses.hidden import matched_layers


class LayerwiseDistiller(MetaStage, Stage, CTREstimator):
    """Train a teacher and distil it into a student.

    The student minimises cross-entropy, the squared difference of the logits, and the distance of
    its hidden layers, linearly projected and layer-normalised, from the teacher's; the
    projections fade out over the epochs and are dropped. The fitted model is the student's
    :class:`CTRClassificationModel`; its ``teacher`` attribute is the teacher's, right after
    fitting. Columns, split, negative sampling and output names are the student's Params.

    Parameters
    ----------
    teacher : CTRClassifier or CTRClassificationModel
        A fitted model is used as it is.
    student : CTRClassifier
    **kwargs
        Other Params by name; see :meth:`explainParams`.

    References
    ----------
    Hinton et al., 2015; Romero et al., "FitNets", ICLR 2015. The layer-wise method for CTR is this
    project's own design.
    """

    _nested_params = ("teacher", "student")

    teacher = param(
        "teacher",
        "CTRClassifier to train first, or a fitted CTRClassificationModel",
        stage_of("teacher", CTRClassifier, CTRClassificationModel),
    )
    student = param("student", "CTRClassifier to distil into", stage_of("student", CTRClassifier))
    logitWeight = setting_param("logitWeight", DISTILLATION["logit_weight"])
    hiddenWeight = setting_param("hiddenWeight", DISTILLATION["layer_weights"])
    hiddenEpochs = setting_param("hiddenEpochs", DISTILLATION["decay_epochs"])

    def _column_owner(self) -> CTRParams:
        student, teacher = self._nested("student"), self._nested("teacher")
        for name in (
            "categoricalFeaturesCol",
            "numericFeaturesCol",
            "labelCol",
            "positiveLabel",
            "weightCol",
        ):
            if student._value(name) != teacher._value(name):
                raise ValueError(
                    f"LayerwiseDistiller: teacher and student must agree on {name}: "
                    f"{teacher._value(name)!r} and {student._value(name)!r}"
                )
        return student

    def _check(self, inputs: Inputs) -> Network:
        self._nested("teacher")._check(inputs)
        return self._nested("student")._check(inputs)

    def _trainings(self) -> list[NetworkSource]:
        return [*self._nested("teacher")._trainings(), self]

    def _train(self, data: TrainingData, work: SharedWork) -> CTRClassificationModel:
        student = self._nested("student")
        teacher = self._nested("teacher")._model_for(data, work)
        network = student._network_for(data.inputs)
        objective = distillation(
            teacher.torchNetwork,
            logit_shift=data.logit_shift,
            seed=student.getSeed(),
            **self.setting_values(DISTILLATION),
        )
        matched = matched_layers(network, teacher.torchNetwork)
        extra = {"teacher": teacher.uid, "layers": matched}
        title = f"distilling {student.getNetwork()}"
        model = student._train_network(data, network, objective, title, extra)
        model.teacher = teacher
        return self._dressed(model, student)
