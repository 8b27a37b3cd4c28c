"""FuxiCTR and DeepCTR-Torch on the files of `benchmarks.training_throughput`.

A program of its own, which runs in an environment of the peers' and prints one JSON object:

    python benchmarks/throughput_peers.py SYSTEM WARM_UP_FOLDER FOLDER SETTINGS

SETTINGS is a JSON object of ``tables`` (rows of each), ``dim``, ``layers``, ``cross_layers``,
``batch`` and ``threads``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import nn

Settings = dict[str, Any]
Arrays = dict[str, np.ndarray]


def read(folder: str) -> Arrays:
    """Read a folder of training files."""
    table = pq.read_table(folder)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def fuxictr(settings: Settings, numeric: int) -> Callable[[Arrays], Callable[[], None]]:
    """DCNv2 of FuxiCTR's layers and base model, read by its default loader (npz, one worker).

    The package's own DCNv2 reads sequences of items; this one is put together like the one of its
    model zoo. Numeric columns are embedded, as they are there.
    """
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.dataloaders import RankDataLoader
    from fuxictr.pytorch.layers import CrossNetV2, FeatureEmbedding, MLP_Block
    from fuxictr.pytorch.models import BaseModel

    features = FeatureMap("log", ".")
    features.labels = ["label"]
    features.features = OrderedDict(
        [(f"n{i}", {"type": "numeric", "source": ""}) for i in range(numeric)]
        + [
            (f"c{i}", {"type": "categorical", "source": "", "vocab_size": rows})
            for i, rows in enumerate(settings["tables"])
        ]
    )
    features.num_fields = len(features.features)
    features.set_column_index()

    class DCNv2(BaseModel):
        def __init__(self) -> None:
            super().__init__(
                features, gpu=-1, verbose=0, model_root=".", metrics=["AUC", "logloss"]
            )
            width = features.num_fields * settings["dim"]
            self.embedding_layer = FeatureEmbedding(features, settings["dim"])
            self.crossnet = CrossNetV2(width, settings["cross_layers"])
            self.parallel_dnn = MLP_Block(
                input_dim=width, output_dim=None, hidden_units=settings["layers"]
            )
            self.fc = nn.Linear(width + settings["layers"][-1], 1)
            self.compile("adam", "binary_crossentropy", 1e-3)
            self.reset_parameters()
            self.model_to_device()

        def forward(self, inputs: Any) -> dict[str, torch.Tensor]:
            x = self.embedding_layer(self.get_inputs(inputs), flatten_emb=True)
            both = torch.cat([self.crossnet(x), self.parallel_dnn(x)], dim=-1)
            return {"y_pred": self.output_activation(self.fc(both))}

    model = DCNv2()
    model._max_gradient_norm, model._total_steps, model._eval_steps = 10.0, 0, sys.maxsize
    model._stop_training = False

    def epoch_of(arrays: Arrays) -> Callable[[], None]:
        with tempfile.TemporaryDirectory() as folder:
            np.savez(f"{folder}/train.npz", **arrays)
            loader, _ = RankDataLoader(
                features, "train", f"{folder}/train.npz", batch_size=settings["batch"]
            )
        return lambda: model.train_epoch(loader)

    return epoch_of


def deepctr_torch(settings: Settings, numeric: int) -> Callable[[Arrays], Callable[[], None]]:
    """DCN of DeepCTR-Torch with matrices, all its defaults, on arrays in memory as it wants them.

    It has a linear part beside the network, and an L2 penalty of all tables.
    """
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models import DCN

    features = [
        SparseFeat(f"c{i}", rows, embedding_dim=settings["dim"])
        for i, rows in enumerate(settings["tables"])
    ] + [DenseFeat(f"n{i}", 1) for i in range(numeric)]
    model = DCN(
        features,
        features,
        cross_num=settings["cross_layers"],
        cross_parameterization="matrix",
        dnn_hidden_units=tuple(settings["layers"]),
    )
    model.compile("adam", "binary_crossentropy")

    def epoch_of(arrays: Arrays) -> Callable[[], None]:
        names = [name for name in arrays if name not in ("label", "weight")]
        inputs = {name: arrays[name] for name in names}
        return lambda: model.fit(
            dict(inputs), arrays["label"], batch_size=settings["batch"], epochs=1, verbose=0
        )

    return epoch_of


SYSTEMS = {"FuxiCTR": fuxictr, "DeepCTR-Torch": deepctr_torch}


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


def main(system: str, warm_up: str, folder: str, settings: Settings) -> dict[str, Any]:
    """Train an epoch after one of the warm-up rows."""
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    arrays = read(folder)
    epoch_of = SYSTEMS[system](settings, sum(name.startswith("n") for name in arrays))
    epoch_of(read(warm_up))()
    epoch = epoch_of(arrays)
    began, used = time.perf_counter(), cpu_seconds()
    epoch()
    return {"seconds": time.perf_counter() - began, "cpu": cpu_seconds() - used}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:4], json.loads(sys.argv[4]))))
