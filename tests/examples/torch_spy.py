"""A loader for workers that tells whether torch was imported to score."""

import importlib
import sys

import numpy as np


def __getattr__(name):
    """Find ``a__b___c``, which stands for the loader ``a.b:c``."""
    if "___" not in name:
        raise AttributeError(name)
    module, function = name.split("___")

    def load(data):
        predict = getattr(importlib.import_module(module.replace("__", ".")), function)(data)

        def spied(ids, numeric):
            logits = predict(ids, numeric)
            assert np.isfinite(logits).all()
            return np.full_like(logits, float("torch" in sys.modules))

        return spied

    return load


def spy_on(model):
    """Have a model's workers give the logit 1 if torch was imported there, else 0."""
    model._loader = f"{__name__}:" + model._loader.replace(".", "__").replace(":", "___")
    return model
