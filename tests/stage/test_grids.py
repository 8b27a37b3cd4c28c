"""Grids share what their points need alike, and give what separate fits give."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from small_classifier import classifier

from spark_ctr.classification import CTRClassificationModel
from spark_ctr.distillation import LayerwiseDistiller, layerwise_distiller
from spark_ctr.estimator import estimator, network_classifier
from spark_ctr.estimator.shared_work import SharedWork
from spark_ctr.networks import Inputs, build_network
from spark_ctr.quantization import MixedPrecisionQuantizer

INPUTS = Inputs((), ("age",))


class Work:
    """What fits have written and trained: folders of training files, titles of trainings."""

    def __init__(self):
        self.labelled = []
        self.folders = []
        self.titles = []

    def left(self):
        return [folder for folder in self.folders if Path(folder.removeprefix("file:")).exists()]


@pytest.fixture
def work(monkeypatch):
    done = Work()
    write, run = estimator.training_data, network_classifier.run_training

    @contextmanager
    def writing(dataset, columns):
        with write(dataset, columns) as data:
            done.folders.append(data.folder)
            yield data

    def training(params, data, asked):
        done.titles.append(asked.title)
        return run(params, data, asked)

    label = layerwise_distiller.with_teacher

    def labelling(spark, data, *arguments):
        done.labelled.append(data.folder)
        return label(spark, data, *arguments)

    monkeypatch.setattr(layerwise_distiller, "with_teacher", labelling)
    monkeypatch.setattr(estimator, "training_data", writing)
    monkeypatch.setattr(network_classifier, "run_training", training)
    return done


def distiller():
    teacher = classifier(maxIter=1, network="deepfm", crossLayers=1)
    student = classifier(maxIter=1, network="dnn")
    return LayerwiseDistiller(teacher=teacher, student=student, maxIter=1, recombine=False)


def same(one, two):
    weights = two.torchNetwork.state_dict()
    return all(torch.equal(v, weights[k]) for k, v in one.torchNetwork.state_dict().items())


def test_a_fold_writes_its_files_and_trains_its_teacher_once(small_clicks, work):
    stage = distiller()
    rate = stage.getStudent().learningRate
    validator = CrossValidator(
        estimator=stage,
        estimatorParamMaps=[{rate: 0.1}, {rate: 0.01}, {stage.logitWeight: 0.0}],
        evaluator=BinaryClassificationEvaluator(),
        numFolds=2,
        parallelism=2,
        collectSubModels=True,
    )
    model = validator.fit(small_clicks)
    # Two folds and the fit of the best point.
    assert len(work.folders) == 3 and not work.left()
    # The teacher's logits as often as the teacher, and a student from labels for each rate.
    assert work.titles.count("training deepfm") == 3 and len(work.labelled) == 3
    assert work.titles.count("training dnn") == 5
    assert work.titles.count("distilling dnn") == 7
    for one, two, three in model.subModels:
        assert one.getLearningRate() == 0.1 and two.getLearningRate() == 0.01
        assert not same(one, two) and same(one.teacher, three.teacher)


@pytest.mark.once
def test_points_give_what_separate_fits_give(small_clicks, work):
    stage = classifier(network="dnn", dropout=0.2, numWorkers=1)
    split = {stage.validationFraction: 0.3}
    grid = [{stage.learningRate: 0.02}, split, {**split, stage.hiddenLayers: [4]}, {}]
    together = stage.fit(small_clicks, grid)
    assert len(work.folders) == 2 and not work.left()
    apart = [stage.copy(point).fit(small_clicks) for point in grid]
    assert len(work.folders) == 6 and not work.left()
    assert [model.getValidationFraction() for model in together] == [0.1, 0.3, 0.3, 0.1]
    assert all(same(*pair) for pair in zip(together, apart, strict=True))
    assert stage.fit(small_clicks, []) == []


@pytest.mark.once
def test_a_quantiser_shares_what_its_stages_train(small_clicks, work):
    stage = MixedPrecisionQuantizer(classifier=distiller(), maxIter=1)
    student = stage.getClassifier().getStudent()
    grid = [{stage.binaryShare: 0.0}, {stage.binaryShare: 1.0}, {student.learningRate: 0.1}]
    validation = TrainValidationSplit(
        estimator=stage,
        estimatorParamMaps=grid,
        evaluator=BinaryClassificationEvaluator(),
        parallelism=2,
        collectSubModels=True,
    )
    one, two, three = validation.fit(small_clicks).subModels
    assert work.titles.count("training deepfm") == 2
    assert work.titles.count("distilling dnn") == 3
    assert same(one.fullPrecisionModel, two.fullPrecisionModel)
    assert not same(one.fullPrecisionModel, three.fullPrecisionModel)
    assert len(work.folders) == 2 and not work.left()


@pytest.mark.once
def test_a_failed_fit_and_a_dropped_iterator_leave_no_files(small_clicks, work):
    stage = classifier(maxIter=1)
    fits = stage.fitMultiple(small_clicks, [{}, {stage.weightCol: "label"}, {}])
    assert next(fits)[0] == 0 and work.left()
    with pytest.raises(ValueError, match="weightCol"):
        next(fits)
    assert not work.left()
    assert next(fits)[0] == 2 and len(work.folders) == 2 and not work.left()
    fits = stage.fitMultiple(small_clicks, [{}, {}])
    next(fits)
    assert work.left()
    del fits
    gc.collect()
    assert not work.left()


@pytest.mark.once
def test_a_quantised_model_has_the_params_of_its_own_fit(small_clicks):
    first = classifier(maxIter=1, network="dnn", predictionCol="click", threshold=0.3)
    stage = MixedPrecisionQuantizer(classifier=first, learningRate=0.004, binaryShare=0.0)
    model = stage.setMaxIter(1).fit(small_clicks)
    assert (model.getLearningRate(), model.getLogitWeight()) == (0.004, 1.0)
    assert (model.getPredictionCol(), model.getThreshold()) == ("click", 0.3)
    assert model.uid == stage.uid and len(model.summary.history["epochs"]) == model.getMaxIter()
    again = stage.copy({stage.classifier: model.fullPrecisionModel}).fit(small_clicks)
    assert again.to_bytes() == model.to_bytes()
    unset = MixedPrecisionQuantizer(classifier=first.copy({first.maxIter: 2}), binaryShare=0.0)
    assert unset.fit(small_clicks).getMaxIter() == unset.getMaxIter() == 10


def test_stages_with_the_same_params_are_the_same():
    stage = distiller()
    teacher, student = stage.getTeacher(), stage.getStudent()
    again = stage.copy({student.learningRate: 0.1, stage.hiddenEpochs: 2})
    assert again._key() != stage._key()
    assert again.getTeacher() is not teacher and again.getTeacher()._key() == teacher._key()
    assert stage.copy({teacher.batchSize: 32}).getTeacher()._key() != teacher._key()
    assert classifier()._key() != classifier()._key()
    one, two = (CTRClassificationModel()._with(build_network("lr", INPUTS), None) for _ in "12")
    keys = [stage.copy({stage.teacher: model})._key() for model in (one, one.copy(), two)]
    assert keys[0] == keys[1] != keys[2]


def test_threads_wait_for_what_one_of_them_makes():
    work = SharedWork([["rows"]] * 4)
    made, closed, all_in = [], [], threading.Barrier(4)

    def make(opened):
        made.append(1)
        opened.callback(closed.append, 1)
        return object()

    def fit(_):
        with work.used_by(["rows"]):
            all_in.wait()
            found = work.get("rows", make)
            assert not closed
            return found

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(fit, range(4)))) == 1
    assert made == closed == [1]


def test_a_failure_of_what_is_shared_is_everybodys():
    work = SharedWork([["rows"]] * 3)
    began, tried = threading.Barrier(2), []

    def fail(opened):
        tried.append(1)
        began.wait()
        raise OSError("the disk is full")

    def fit(first):
        with work.used_by(["rows"]):
            if not first:
                began.wait()
            return work.get("rows", fail)

    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(fit, first) for first in (True, False)]
    for failed in fits:
        with pytest.raises(OSError, match="full"):
            failed.result()
    with pytest.raises(OSError, match="full"):
        fit(True)
    assert tried == [1]


def test_what_is_over_is_let_go_though_others_go_on():
    work = SharedWork([["rows", "teacher"], ["rows"]])
    closed = []
    for key in ("rows", "teacher"):
        with work.used_by([]):
            work.get(key, lambda opened, key=key: opened.callback(closed.append, key))
    with work.used_by(["rows", "teacher"]):
        pass
    assert closed == ["teacher"]
    work.give_up()
    assert closed == ["teacher", "rows"]
