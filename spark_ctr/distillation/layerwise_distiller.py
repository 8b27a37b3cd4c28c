"""LayerwiseDistiller: train a teacher, then a small student that follows it layer by layer."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from spark_ctr.classification.ctr_classifier import CTRClassificationModel, CTRClassifier
from spark_ctr.distillation.ladder import pick, time_per_row
from spark_ctr.distillation.params import DistillationParams
from spark_ctr.distillation.verdict import best_figures, pays, verdict
from spark_ctr.estimator.estimator import CTREstimator
from spark_ctr.estimator.params import CTRParams
from spark_ctr.estimator.run import first_rows
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.estimator.source import params_key
from spark_ctr.networks.network import Network
from spark_ctr.rows.teacher_rows import Recombination, TeacherOfRows, with_teacher
from spark_ctr.rows.training_columns import (
    TrainingColumns,
    check_same_inputs,
    feature_inputs,
    further_prefix,
)
from spark_ctr.rows.training_data import TrainingData
from spark_ctr.rows.unlabelled_rows import write_unlabelled
from spark_ctr.stage.base import param
from spark_ctr.stage.fit_progress import counted, working
from spark_ctr.stage.meta import MetaStage, stage_of, stages_of
from spark_ctr.tables import Inputs
from spark_ctr.tables.column_groups import column_groups
from spark_ctr.training.distillation import DISTILLATION, distillation
from spark_ctr.training.losses import Objective
from spark_ctr.training.losses.hidden import matched_layers
from spark_ctr.training.transfer import start_from

logger = logging.getLogger("spark_ctr")

Distil = Callable[[TrainingData, int, str], CTRClassificationModel]

# Rows that the start is fitted on, and by which columns are grouped.
_SAMPLE = 16_384
# A trial of mixed rows takes one in so many epochs.
_TRIAL = 8


class LayerwiseDistiller(MetaStage, DistillationParams, CTREstimator):
    """Train a teacher and distil it into a student.

    The student starts from the teacher: its tables are principal components of the teacher's, and
    with ``start="layers"`` its layers are fitted to the teacher's one after another. It then learns
    from the labels and from the teacher's logits, which executors compute once for all training
    rows, and where it helps from the teacher's logits on rows that nobody saw. Hidden, cross and
    embedding layers can be followed too, linearly projected and layer-normalised; the projections
    fade out and are dropped. The fitted model is the student's :class:`CTRClassificationModel`; its
    ``teacher`` attribute is the (first) teacher's model, right after fitting. Labels, split,
    negative sampling and output names are the student's Params; a teacher may read other feature
    columns.

    ``summary.extra`` tells what the student started from, what mixed rows brought, and in
    ``"verdict"`` what distillation brought against the same student from labels.

    Parameters
    ----------
    teacher : CTRClassifier, CTRClassificationModel, or a list of them
        A fitted model is used as it is. Of several, the student follows the mean logit. Unset: an
        ensemble of three `dcnv2` with the student's other Params.
    student : CTRClassifier
    **kwargs
        Other Params by name; see :meth:`explainParams`.

    References
    ----------
    Hinton et al., 2015; Romero et al., "FitNets", ICLR 2015; Zhu et al., "Ensembled CTR prediction
    via knowledge distillation", CIKM 2020. The layer-wise method for CTR is this project's own
    design.
    """

    _nested_params = ("teacher", "student")

    teacher = param(
        "teacher",
        "CTRClassifier to train first, a fitted CTRClassificationModel, or a list of them; unset: "
        "an ensemble of three dcnv2 (members=3)",
        stages_of(
            "teacher",
            CTRClassifier,
            CTRClassificationModel,
            "MultiTaskClassifier",
            "MultiTaskClassificationModel",
        ),
    )
    student = param(
        "student",
        "CTRClassifier to distil into",
        stage_of("student", CTRClassifier, "MultiTaskClassifier"),
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._unlabelled: DataFrame | None = None

    def setUnlabelled(self, dataset: DataFrame | None) -> LayerwiseDistiller:
        """Give rows without labels to follow the teacher on; ``None`` for none.

        They are encoded as the training rows are. They are no Param and are not saved.
        """
        self._unlabelled = dataset
        return self

    def _teachers(self) -> Sequence[Any]:
        value = self._value("teacher")
        if value is None:
            return [self._default_teacher()]
        return value if isinstance(value, list) else [value]

    def _default_teacher(self) -> CTRClassifier:
        teacher = self._nested("student").copy()
        teacher._resetUid(f"{self.uid}_teacher")
        own = ("network", "hiddenLayers", "crossLayers", "dropout", "batchNorm", "networkOptions")
        for name in (*own, "contextEnhancement", "contextCols", "embeddingDim", "initialModel"):
            teacher.clear(teacher.getParam(name))
        return teacher.setMembers(3)

    def _column_owner(self) -> CTRParams:
        student = self._nested("student")
        for teacher in self._teachers():
            if student._label_params != teacher._label_params:
                raise ValueError(
                    "LayerwiseDistiller: teacher and student must be of the same tasks, and one is "
                    f"a {type(teacher).__name__}, the other a {type(student).__name__}"
                )
            for name in student._label_params:
                if student._value(name) != teacher._value(name):
                    raise ValueError(
                        f"LayerwiseDistiller: teacher and student must agree on {name}: "
                        f"{teacher._value(name)!r} and {student._value(name)!r}"
                    )
            if student.labels() != teacher.labels():
                raise ValueError(
                    "LayerwiseDistiller: teacher and student must learn from the same labels: "
                    f"{teacher.labels()} and {student.labels()}"
                )
        return student

    def _further(self) -> list[tuple[str, str]]:
        """Return the pairs of feature columns that only teachers read."""
        pairs = dict.fromkeys(
            _features(one) for one in (self._nested("student"), *self._teachers())
        )
        return list(pairs)[1:]

    def _training_columns(self) -> TrainingColumns:
        return replace(super()._training_columns(), further=tuple(self._further()))

    def _check(self, inputs: Inputs, *further: Inputs) -> Network:
        student = self._nested("student")
        of_pair = dict(zip(self._further(), further, strict=True))
        teachers = [
            teacher._check(of_pair.get(_features(teacher), inputs)) for teacher in self._teachers()
        ]
        if self._unlabelled is not None:
            pairs = [_features(student), *self._further()]
            for pair, expected in zip(pairs, (inputs, *further), strict=True):
                found = feature_inputs(self._unlabelled, *pair)
                check_same_inputs(found, expected, f"the dataset of setUnlabelled {pair}")
        if self.isSet("targetLatency") and self.isSet("targetShare"):
            raise ValueError(
                "LayerwiseDistiller: set targetLatency or targetShare, which is of the teacher's "
                "time, but not both"
            )
        network = student._check(inputs)
        for teacher in teachers:
            if teacher.tasks != network.tasks:
                raise ValueError(
                    f"LayerwiseDistiller: the teacher has the tasks {', '.join(teacher.tasks)}, "
                    f"the student {', '.join(network.tasks)}: they must be the same (jointTask "
                    "adds the one that network 'esmm' has)"
                )
        readers = [
            n for n, t in zip(teachers, self._teachers(), strict=True) if not self._number(t)
        ]
        # Wrong pairings are found here, before any training.
        if self.isSet("layerPairing"):
            self._matched(network, readers)
        self._objective(readers, 0.0, 1.0).loss(network)
        return network

    def _matched(self, student: Network, readers: Sequence[Network]) -> dict[str, str]:
        """Return the first teacher's layer that each of the student's follows."""
        return matched_layers(student, readers[0], self.getLayerPairing()) if readers else {}

    def _keys(self) -> list[Hashable]:
        keys = [key for teacher in self._teachers() for key in teacher._keys()]
        labels = self._nested("student")._keys() if self.getCompareWithLabels() else []
        return [*keys, self._rows_key(), *labels, self._key()]

    def _key(self) -> Hashable:
        return *params_key(self), id(self._unlabelled)  # type: ignore[misc]

    def _rows_key(self) -> Hashable:
        """Return what is equal for fits that follow the same logits on the same rows."""
        names = ("recombine", "columnGroups", "recombinedCopies", "unlabelledRatio")
        values = [repr(self._value(name)) for name in names]
        teachers = [teacher._key() for teacher in self._teachers()]
        features = _features(self._nested("student"))
        return "teacher's logits", *teachers, features, *values, id(self._unlabelled)

    def _number(self, teacher: Any) -> int:
        """Return the place of a teacher's feature columns, 0 for the student's own."""
        return [_features(self._nested("student")), *self._further()].index(_features(teacher))

    def _train(self, data: TrainingData, work: SharedWork) -> CTRClassificationModel:
        views = [data, *(data.view(number) for number in range(len(data.further)))]
        models = [one._model_for(views[self._number(one)], work) for one in self._teachers()]
        owner = self._nested("student")
        student, sizes = self._sized(owner, models, data.inputs)
        rows, groups = work.get(self._rows_key(), lambda _: self._labelled(data, models))
        readers = [
            model.torchNetwork
            for model, teacher in zip(models, self._teachers(), strict=True)
            if not self._number(teacher)
        ]
        extra: dict[str, Any] = {
            "teacher": models[0].uid,
            "teachers": [model.uid for model in models],
            "columns": groups,
        }
        if sizes:
            extra["sizes"] = sizes
        epochs = self._value("maxIter")
        epochs = 2 * student.getMaxIter() if epochs is None else epochs
        sample = first_rows(student, rows, _SAMPLE)
        assert sample.teacher is not None
        variance = float(sample.teacher.double().var(unbiased=False)) or 1.0

        def distil(data: TrainingData, epochs: int, title: str) -> CTRClassificationModel:
            network = student._network_for(data.inputs)
            fresh = student._value("initialModel") is None
            if fresh:
                student._start(network, data)
            if fresh and self.getStart() != "none" and readers:
                layers = self.getStart() == "layers"
                extra["start"] = start_from(
                    network, readers, sample.ids, sample.numeric, layers=layers
                )
            extra["layers"] = self._matched(network, readers)
            objective = self._objective(readers, data.logit_shift, variance)
            settings = replace(
                student.training_settings(), max_epochs=epochs, patience_on="objective"
            )
            return student._train_network(data, network, objective, title, extra, settings)

        title = f"distilling {student.getNetwork()}"
        if groups and not self.isSet("recombine"):
            rows = self._tried(rows, distil, epochs, title, extra)
        model = distil(rows, epochs, title)
        if self.getCompareWithLabels():
            self._compare(model, student._model_for(data, work))
        model.teacher = models[0]
        return self._dressed(model, student)

    def _objective(
        self, readers: Sequence[Network], logit_shift: float, logit_variance: float
    ) -> Objective:
        """Return what the student is trained for; `readers` are the teachers of its own columns."""
        values = self.setting_values(DISTILLATION)
        weights = {"hiddenWeight": "layer_weights", "embeddingWeight": "embedding_weight"}
        weights["crossWeight"] = "cross_weight"
        used = [name for name, key in weights.items() if values[key]]
        if used and len(readers) != 1:
            raise ValueError(
                f"LayerwiseDistiller: {' and '.join(used)} follow the layers of one teacher that "
                f"reads the student's columns, and there are {len(readers)}: set them to 0"
            )
        seed = self._nested("student").getSeed()
        teacher = readers[0] if used else None
        return distillation(
            teacher,
            logit_variance=logit_variance,
            labels=self._nested("student").label_term(logit_shift, by_member=False),
            seed=seed,
            **values,
        )

    def _sized(
        self, student: CTRClassifier, models: Sequence[CTRClassificationModel], inputs: Inputs
    ) -> tuple[CTRClassifier, dict[str, Any] | None]:
        """Return the student in the size that the targets allow, and what was measured for it."""
        latency, share = self._value("targetLatency"), self._value("targetShare")
        if latency is None and share is None:
            return student, None
        teacher_time = sum(time_per_row(model.predictor(), model.inputs) for model in models)
        choice = pick(
            student.getNetwork(),
            student.network_config(),
            student.network_inputs(inputs),
            target_latency=latency,
            target_share=share,
            teacher_time=teacher_time,
        )
        sized = student.copy()
        sized.setHiddenLayers(list(choice.rung.hidden_layers)).setEmbeddingDim(
            choice.rung.embedding_dim
        )
        return sized, {**choice.to_dict(), "teacher_us": teacher_time}

    def _labelled(
        self, data: TrainingData, models: Sequence[CTRClassificationModel]
    ) -> tuple[TrainingData, list[list[str]]]:
        """Return the rows with the teachers' logits, and the groups of columns of mixed rows."""
        student, spark = self._nested("student"), SparkSession.active()
        teachers = [
            TeacherOfRows(model.torchNetwork, further_prefix(number - 1) if number else "")
            for model, number in zip(models, map(self._number, self._teachers()), strict=True)
        ]
        given = None
        if self._unlabelled is not None:
            given = write_unlabelled(
                self._unlabelled,
                self._training_columns(),
                data.inputs,
                data.folder,
                data.further,
            )
        groups: list[list[str]] = []
        # Mixed with columns that only a teacher knows, rows would seldom make sense.
        untold = not self.isSet("recombine") and given is None and not data.further
        if self._value("recombine") or untold:
            groups = self._groups(data)
        recombination = None
        if len(groups) > 1:
            recombination = Recombination(groups, self.getRecombinedCopies(), student.getSeed())
        title = f"{type(self).__name__}, the teacher's logits"
        with working(title, student.getVerbose()) as result:
            rows = with_teacher(
                spark, data, teachers, recombination, given, self.getUnlabelledRatio()
            )
            result(f"{counted(rows.rows, 'row')}, {rows.unlabelled_rows:,} without labels")
        return rows, groups if recombination else []

    def _groups(self, data: TrainingData) -> list[list[str]]:
        """Return the groups of columns that come from one row when rows are mixed."""
        names = [*(table.name for table in data.inputs.tables), *data.inputs.numeric]
        given = self._value("columnGroups")
        if given is None:
            rows = first_rows(self._nested("student"), data, _SAMPLE)
            return column_groups(rows.ids.numpy(), rows.numeric.numpy(), data.inputs)
        known = {name for group in given for name in group}
        return [*given, *([name] for name in names if name not in known)]

    def _tried(
        self, rows: TrainingData, distil: Distil, epochs: int, title: str, extra: dict[str, Any]
    ) -> TrainingData:
        """Return the rows with the mixed ones only if a short trial gains by them."""
        plain = replace(rows, unlabelled_path=None, unlabelled_rows=0)
        if not rows.valid_rows:
            return plain
        few = max(1, epochs // _TRIAL)
        tried = (
            distil(data, min(few, epochs), f"{title}, a trial {what} mixed rows")
            for data, what in ((plain, "without"), (rows, "with"))
        )
        without, mixed = (best_figures(model.summary.history) for model in tried)
        if without is None or mixed is None:  # validation rows of one class
            return plain
        gained = pays(mixed, without)
        before, after = without["log_loss"], mixed["log_loss"]
        extra["recombined"] = {"used": gained, "without": before, "with": after}
        logger.info(
            "%s: after %s the validation log loss is %.4f with mixed rows and %.4f without: they "
            "are %s (set recombine to decide otherwise)",
            *(title, counted(few, "epoch"), after, before, "taken" if gained else "left out"),
        )
        return rows if gained else plain

    def _compare(self, model: CTRClassificationModel, labelled: CTRClassificationModel) -> None:
        """Say what distillation brought, and keep it with the model."""
        own, other = (best_figures(one.summary.history) for one in (model, labelled))
        if own is None or other is None:
            return
        line = verdict(own, other)
        model.summary.extra.update(label_only=other, distilled=own, verdict=line)
        logger.info("%s: %s", type(self).__name__, line)
        if self._nested("student").getVerbose():
            print(line, file=sys.stderr, flush=True)


def _features(stage: Any) -> tuple[str, str]:
    """Return the names of the feature columns that a stage reads."""
    return stage.getCategoricalFeaturesCol(), stage.getNumericFeaturesCol()
