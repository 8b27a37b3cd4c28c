"""Teachers of `benchmarks.distillation`, trained once and kept in a folder.

A file is ``LOG-TEACHER-SEED-DIGEST.safetensors``, where the digest is of the settings, the inputs
and the number of rows; ``.json`` beside it holds the CPU seconds of training. A file without the
digest, ``frappe-ensemble-0.safetensors``, is read too: whoever puts it there answers for how it
was trained.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import cpu_seconds
from benchmarks.model_zoo import _BARS, PUBLISHED, built, feed
from benchmarks.model_zoo_logs import Log
from spark_ctr.networks import Network
from spark_ctr.networks.output_bias import start_at
from spark_ctr.networks.serialization import network_to_bytes, trusted_network_from_bytes
from spark_ctr.training import train
from spark_ctr.training.metrics import log_odds

SINGLE, ENSEMBLE, TAPERED, INFORMED = "single", "ensemble", "tapered", "informed"
CROSSED = "crossed"
# The student's widths are the last of these, for what pairs layers of equal width.
_TAPERED = {"hiddenLayers": [400, 128, 64]}
_FRAPPE: dict[str, dict[str, Any]] = {
    SINGLE: _BARS | PUBLISHED["dnn"],
    ENSEMBLE: _BARS | PUBLISHED["dnn 3 members"],
    TAPERED: _BARS | PUBLISHED["dnn"] | _TAPERED,
    CROSSED: _BARS | PUBLISHED["dcnv2"],
}
# All else is the default of CTRClassifier.
_OTHERS: dict[str, dict[str, Any]] = {
    SINGLE: {"network": "dnn"},
    ENSEMBLE: {"network": "dnn", "members": 3},
    TAPERED: {"network": "dnn", **_TAPERED},
    INFORMED: {"network": "dnn", **_TAPERED},
    CROSSED: {"network": "dcnv2"},
}
TEACHERS = {"frappe": _FRAPPE, "adult": _OTHERS, "drawn2": _OTHERS, "drawn5": _OTHERS}


@dataclass(frozen=True)
class Teacher:
    """A trained teacher, and the CPU seconds that took, where they are known."""

    network: Network
    seconds: float | None


def teacher(name: str, what: str, log: Log, seed: int, arguments: argparse.Namespace) -> Teacher:
    """Read a teacher from the folder, or train it there; without a folder train it."""
    if what == INFORMED:
        if log.history is None:
            raise ValueError(f"{name} has no further rows for the teacher {INFORMED!r}")
        log = replace(log, train=log.history)
    params = TEACHERS[name][what]
    facts = [params, log.inputs.to_dict(), len(log.train.label), arguments.quick]
    facts += [arguments.precision, arguments.epochs]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
    file = None
    if arguments.teachers is not None:
        plain = arguments.teachers / f"{name}-{what}-{seed}.safetensors"
        file = arguments.teachers / f"{name}-{what}-{seed}-{digest}.safetensors"
        for found in (file, plain):
            if found.exists():
                return _read(found)
    made = _trained(log, params, seed, arguments)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        _seconds_file(file).write_text(json.dumps({"CPU seconds": made.seconds}))
        file.write_bytes(network_to_bytes(made.network))
    return made


def _trained(log: Log, params: dict[str, Any], seed: int, arguments: argparse.Namespace) -> Teacher:
    before = cpu_seconds()
    network, settings = built(log, params, seed, arguments)
    rows, valid = log.split(seed)
    clicks = float(rows.label.sum())
    start_at(network, log_odds(clicks, len(rows.label) - clicks))
    train(network, feed(rows, settings.batch_size, seed), feed(valid, 8192, seed), settings)
    return Teacher(network, cpu_seconds() - before)


def _read(file: Path) -> Teacher:
    network = trusted_network_from_bytes(file.read_bytes())
    beside = _seconds_file(file)
    seconds = json.loads(beside.read_text())["CPU seconds"] if beside.exists() else None
    return Teacher(network, seconds)


def _seconds_file(file: Path) -> Path:
    return file.with_suffix(".json")
