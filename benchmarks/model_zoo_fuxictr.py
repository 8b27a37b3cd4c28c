"""The networks of `benchmarks.model_zoo` trained by FuxiCTR on the same encoded rows.

`train_with_fuxictr` starts this file as a program of its own, which runs in an environment with
FuxiCTR (`pip install fuxictr`) and prints one JSON object:

    python benchmarks/model_zoo_fuxictr.py ROWS SETTINGS

ROWS is an .npz file of ``train_ids``, ``train_label``, ``valid_ids`` and ``valid_label``; SETTINGS
a JSON object, see `train_with_fuxictr`. The classes are those of the folder ``model_zoo`` of a
clone of https://github.com/reczoo/FuxiCTR, with the size, penalty, dropout and learning rate that
ours has. As FuxiCTR comes: float32; Adam, embedding rows drawn with a deviation of 0.0001, and a
penalty of all of them at every step; gradients clipped at norm 10; a tenth of the learning rate
after every worse epoch. Its FiBiNET has a bilinear layer of each kind of fields where BARS and
ours have one for both. Batches are cut from arrays in memory, shuffled by the seed: its own loader
collates row by row and would take most of the time.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.model_zoo_logs import Log
    from spark_ctr.networks import Network
    from spark_ctr.training.settings import TrainingSettings

FUXICTR = "FuxiCTR"
# Where in the folder model_zoo the class of one of our networks is.
CLASSES = {
    "lr": "LR/src/LR.py",
    "fm": "FM/src/FM.py",
    "dnn": "DNN/DNN_torch/src/DNN.py",
    "deepfm": "DeepFM/DeepFM_torch/src/DeepFM.py",
    "dcnv2": "DCNv2/src/DCNv2.py",
    "autoint": "AutoInt/src/AutoInt.py",
    "fibinet": "FiBiNET/src/FiBiNET.py",
    "finalmlp": "FinalMLP/src/FinalMLP.py",
}


def why_not_fuxictr(python: str | None, clone: Path | None) -> str:
    """Say what is missing to run FuxiCTR; empty if nothing is."""
    if python is None:
        return "--peers-python names no environment that has it"
    if clone is None:
        return "--fuxictr names no clone of its repository"
    missing = [file for file in CLASSES.values() if not (clone / "model_zoo" / file).is_file()]
    return f"--fuxictr {clone} has no model_zoo/{missing[0]}" if missing else ""


def train_with_fuxictr(
    python: str, clone: Path, log: Log, network: Network, settings: TrainingSettings
) -> dict[str, Any]:
    """Train FuxiCTR's class of a network; the scored rows of `log` choose the epoch.

    Parameters
    ----------
    python : str
        Interpreter of an environment with FuxiCTR.
    clone : Path
        Clone of its repository.
    log : Log
        Without numeric columns.
    network : Network
        Ours: names the class and its size.
    settings : TrainingSettings

    Returns
    -------
    dict
        ``auc``: of the scored rows after each epoch; ``cpu``: seconds of CPU time;
        ``parameters``: their number, of FuxiCTR's network.

    Raises
    ------
    RuntimeError
        If the program fails; ends with its standard error.
    """
    rows = {
        "train_ids": log.train.ids,
        "train_label": log.train.label,
        "valid_ids": log.test.ids,
        "valid_label": log.test.label,
    }
    told = {
        "clone": str(clone.resolve()),
        "network": network.name,
        "config": network.config,
        "tables": {table.name: table.rows for table in log.inputs.tables},
        "dim": log.inputs.tables[0].dim,
        "learning_rate": settings.learning_rate,
        "penalty": settings.embedding_l2,
        "batch": settings.batch_size,
        "epochs": settings.max_epochs,
        "patience": settings.patience,
        "seed": settings.seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/rows.npz"
        np.savez(file, **rows)
        command = [python, __file__, file, json.dumps(told)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{FUXICTR} could not train {network.name}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    by_epoch = " ".join(f"{auc:.4f}" for auc in found["auc"])
    what = f"{FUXICTR}, {network.name} of {found['parameters']:,} parameters"
    print(f"{what}: AUC by epoch {by_epoch}", file=sys.stderr)
    return found


def arguments_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of FuxiCTR's class for the settings of ours."""
    name, config = settings["network"], settings["config"]
    if name in ("lr", "fm"):
        found: dict[str, Any] = {"regularizer": settings["penalty"]}
        return found if name == "lr" else found | {"embedding_dim": settings["dim"]}
    hidden, dropout, norm = (config[key] for key in ("hidden_layers", "dropout", "batch_norm"))
    found = {"embedding_dim": settings["dim"], "embedding_regularizer": settings["penalty"]}
    if name == "finalmlp":
        return found | {
            "mlp1_hidden_units": hidden,
            "mlp2_hidden_units": config["second_layers"],
            **dict.fromkeys(("mlp1_dropout", "mlp2_dropout"), dropout),
            **dict.fromkeys(("mlp1_batch_norm", "mlp2_batch_norm"), norm),
            "fs_hidden_units": config["gate_layers"],
            "fs1_context": config["first_context"],
            "fs2_context": config["second_context"],
            "num_heads": config["heads"],
        }
    found |= {"net_dropout": dropout, "batch_norm": norm}
    if name == "dcnv2":
        return found | {
            "parallel_dnn_hidden_units": hidden,
            "num_cross_layers": config["cross_layers"],
            "use_low_rank_mixture": config["cross_rank"] > 0,
            "low_rank": config["cross_rank"],
            "num_experts": config["cross_experts"],
        }
    if name == "autoint":
        return found | {
            "dnn_hidden_units": hidden,
            "attention_layers": config["attention_layers"],
            "attention_dim": config["attention_dim"],
            "num_heads": config["heads"],
            "layer_norm": config["attention_norm"],
            "use_scale": True,
        }
    found["hidden_units"] = hidden
    if name == "fibinet":
        found["bilinear_type"] = f"field_{config['bilinear']}"
        found["reduction_ratio"] = config["reduction"]
    return found


class Batches:
    """Batches of rows in memory as FuxiCTR's networks read them, shuffled if there is a seed."""

    def __init__(
        self, names: list[str], ids: np.ndarray, label: np.ndarray, size: int, seed: int | None
    ) -> None:
        import torch

        self.names = [*names, "label"]
        self.rows = torch.from_numpy(np.column_stack([ids, label.astype(ids.dtype)]))
        self.size = size
        self.random = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import torch

        n = len(self.rows)
        order = torch.arange(n) if self.random is None else torch.randperm(n, generator=self.random)
        for start in range(0, n, self.size):
            rows = self.rows[order[start : start + self.size]]
            yield dict(zip(self.names, rows.unbind(1), strict=True))


def cpu_seconds() -> float:
    """CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


def main(file: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train one network."""
    import torch
    from fuxictr.features import FeatureMap
    from fuxictr.pytorch.torch_utils import seed_everything

    torch.set_num_threads(1)
    seed_everything(settings["seed"])
    names = list(settings["tables"])
    features = FeatureMap("log", ".")
    features.labels = ["label"]
    features.features = OrderedDict(
        (name, {"type": "categorical", "source": "", "vocab_size": rows})
        for name, rows in settings["tables"].items()
    )
    features.num_fields, features.default_emb_dim = len(names), settings["dim"]
    features.set_column_index()

    path = Path(settings["clone"]) / "model_zoo" / CLASSES[settings["network"]]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    os.makedirs("log", exist_ok=True)  # where FuxiCTR saves the best epoch
    model = getattr(module, path.stem)(
        features,
        gpu=-1,
        verbose=0,
        model_root=".",
        optimizer="adam",
        loss="binary_crossentropy",
        metrics=["AUC"],
        learning_rate=settings["learning_rate"],
        early_stop_patience=settings["patience"],
        **arguments_of(settings),
    )

    aucs: list[float] = []
    evaluate = model.evaluate

    def recorded(*arguments: Any, **more: Any) -> Any:
        found = evaluate(*arguments, **more)
        aucs.append(float(found["AUC"]))
        return found

    model.evaluate = recorded
    with np.load(file) as rows:
        train, valid = (
            Batches(names, rows[f"{part}_ids"], rows[f"{part}_label"], settings["batch"], seed)
            for part, seed in (("train", settings["seed"]), ("valid", None))
        )
    before = cpu_seconds()
    model.fit(train, epochs=settings["epochs"], validation_data=valid)
    used = cpu_seconds() - before
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return {"auc": aucs, "cpu": used, "parameters": parameters}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))))
