"""Params of the distiller beside its two stages."""

from __future__ import annotations

from typing import Any

from pyspark.ml.param import TypeConverters

from spark_ctr.stage.base import Stage, number, one_of, param, setting_param
from spark_ctr.training.distillation import DISTILLATION


def _groups(value: Any) -> list[list[str]]:
    """Return lists of column names, none of which is named twice."""
    lists = isinstance(value, list | tuple) and all(isinstance(g, list | tuple) for g in value)
    names = [name for group in value for name in group] if lists else []
    if not lists or not all(isinstance(name, str) for name in names):
        raise TypeError(f"columnGroups must be a list of lists of column names: {value!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"columnGroups names {', '.join(twice)} twice")
    return [list(group) for group in value]


class DistillationParams(Stage):
    """What a student follows, where it starts, and on which rows."""

    labelWeight = setting_param("labelWeight", DISTILLATION["click_weight"])
    logitWeight = setting_param("logitWeight", DISTILLATION["logit_weight"])
    logitLoss = setting_param("logitLoss", DISTILLATION["logit_loss"])
    temperature = setting_param("temperature", DISTILLATION["temperature"])
    hiddenWeight = setting_param("hiddenWeight", DISTILLATION["layer_weights"])
    hiddenEpochs = setting_param("hiddenEpochs", DISTILLATION["decay_epochs"])
    layerPairing = setting_param("layerPairing", DISTILLATION["pairing"])
    embeddingWeight = setting_param("embeddingWeight", DISTILLATION["embedding_weight"])
    crossWeight = setting_param("crossWeight", DISTILLATION["cross_weight"])
    start = param(
        "start",
        "first weights of the student: 'tables', the principal components of the teacher's tables; "
        "'layers', then also layer after layer fitted to the teacher's, for a student that is "
        "trained for few epochs; 'none', drawn. What the networks do not share is drawn",
        one_of("start", "tables", "layers", "none"),
        "tables",
    )
    recombine = param(
        "recombine",
        "whether the student also follows the teacher on rows that nobody saw, mixed from groups "
        "of columns of the training rows; unset: where a short trial gains on the validation rows",
        TypeConverters.toBoolean,
    )
    columnGroups = param(
        "columnGroups",
        "lists of the columns that come from one row when rows are mixed; a column in none is a "
        "group by itself; unset: columns that determine one another stay together",
        _groups,
    )
    recombinedCopies = param(
        "recombinedCopies",
        "mixed rows for each training row that are written and labelled; they come round in turn",
        number("recombinedCopies", int, at_least=1),
        4,
    )
    unlabelledWeight = setting_param("unlabelledWeight", DISTILLATION["unlabelled_weight"])
    unlabelledRatio = param(
        "unlabelledRatio",
        "rows without labels, mixed or given, for each labelled row of a batch",
        number("unlabelledRatio", float, above=0.0),
        1.0,
    )
    maxIter = param(
        "maxIter",
        "most epochs of the student; unset: twice its own maxIter, since it learns on for longer",
        number("maxIter", int, at_least=0),
    )
    compareWithLabels = param(
        "compareWithLabels",
        "whether to train the same student from labels alone too, and to say what distillation "
        "brought on the validation rows",
        TypeConverters.toBoolean,
        True,
    )
    targetLatency = param(
        "targetLatency",
        "time a row in microseconds that the student may take, measured on this machine on one "
        "thread as scoring runs it: chooses hiddenLayers and embeddingDim; unset: the student's",
        number("targetLatency", float, above=0.0),
    )
    targetShare = param(
        "targetShare",
        "the same as a share of the teacher's time",
        number("targetShare", float, above=0.0),
    )
