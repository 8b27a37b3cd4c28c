"""A classifier that a second is enough for, and what it learned."""

from spark_ctr.classification import CTRClassifier


def classifier(**params):
    defaults = {
        "hiddenLayers": [8, 4],
        "dropout": 0.0,
        "batchNorm": False,
        "batchSize": 64,
        "maxIter": 3,
        "learningRate": 0.01,
        "device": "cpu",
        "verbose": False,
    }
    return CTRClassifier(**defaults | params)


def figures(model):
    return [(e["train_loss"], e["valid_auc"]) for e in model.summary.history["epochs"]]
