"""The students of `benchmarks.distillation`: what each has, and its settings on every log."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.distillation_teachers import CROSSED, ENSEMBLE, INFORMED, SINGLE, TAPERED
from spark_ctr.networks import Network
from spark_ctr.training.distillation import DISTILLATION, distillation
from spark_ctr.training.losses import Objective, TermSettings

LOGS = ("frappe", "adult", "drawn2", "drawn5")
LABELS, FULL = "labels", "full"

# Of every student; embeddings are all this wide.
STUDENT: dict[str, Any] = {"network": "dnn", "hiddenLayers": [128, 64]}
DIM = 8

# Params of the students by log: chosen by --tune, on the rows that choose the epoch.
_COSINE: dict[str, Any] = {"learningRateSchedule": "cosine", "warmupSteps": 50}
_DRAWN: dict[str, Any] = {"maxIter": 32, "embeddingRegularization": 0.001}
_ADULT: dict[str, Any] = {"maxIter": 16, "dropout": 0.0, "embeddingRegularization": 0.01}
TUNED: dict[str, dict[str, dict[str, Any]]] = {
    "frappe": {
        LABELS: {"dropout": 0.1, "batchSize": 1024, "learningRate": 2e-3, "maxIter": 30},
        FULL: {
            "dropout": 0.0,
            "embeddingRegularization": 0.01,
            "batchSize": 1024,
            "learningRate": 2e-3,
            "maxIter": 30,
        },
    },
    "adult": {LABELS: _ADULT, FULL: _ADULT},
    "drawn2": {
        LABELS: {"maxIter": 4, "embeddingRegularization": 0.01, "dropout": 0.2},
        FULL: _DRAWN,
    },
    "drawn5": {LABELS: {"maxIter": 8}, FULL: _DRAWN},
}
# A student that follows a teacher trains longer, and its tables need less of a penalty.
_GRID: dict[str, list[float]] = {"dropout": [0.0, 0.2], "learningRate": [1e-3, 3e-3]}
GRID: dict[str, dict[str, list[float]]] = {
    LABELS: {"embeddingRegularization": [0.01, 0.05, 0.2], "maxIter": [4, 8, 16], **_GRID},
    FULL: {"embeddingRegularization": [0.001, 0.01, 0.05], "maxIter": [8, 16, 32], **_GRID},
}

# Options of `spark_ctr.training.distillation.distillation`, as they are by default.
OPTIONS = {name: DISTILLATION[name].default for name in ("logit_weight", "layer_weights")}
# Weight of the hint of rocket launching by log: what `logit_weight` comes to there.
HINT = {"frappe": 0.1, "adult": 1.0, "drawn2": 3.0, "drawn5": 3.0}
# Teachers of "full".
FULL_TEACHER = {"frappe": ENSEMBLE, "adult": ENSEMBLE, "drawn2": INFORMED, "drawn5": INFORMED}
# Teachers with layers as wide as the student's.
EQUAL_TEACHER = {"frappe": TAPERED, "adult": TAPERED, "drawn2": INFORMED, "drawn5": INFORMED}

# Whether "full" has rows that nobody saw: what the trial of `LayerwiseDistiller` says.
UNSEEN = {"frappe": True, "adult": False, "drawn2": False, "drawn5": False}


@dataclass(frozen=True)
class System:
    """A student.

    Attributes
    ----------
    teacher : str
        One of `benchmarks.distillation_teachers`, or "" for labels alone.
    unseen : bool
        Whether mixed rows come with the teacher's logits.
    start : {"layers", "tables", ""}
        What starts from the teacher's weights; "layers" are tables and layers.
    options : dict
        Of `distillation`.
    terms : dict of str to str
        Instead of those of `distillation`: each with the option that is its weight.
    params : dict
        Of a `CTRClassifier`.
    """

    teacher: str
    unseen: bool = True
    start: str = "tables"
    options: dict[str, Any] = field(default_factory=dict)
    terms: dict[str, str] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)

    def objective(self, teacher: Network | None, variance: float, seed: int) -> Objective:
        """Return what the student is trained for; the variance is that of the teacher's logits."""
        frozen = {} if teacher is None else {"teacher": teacher}
        if self.terms:
            unit = {"logit_weight": variance}
            named = (
                TermSettings(name, self.options[of] / unit.get(of, 1.0))
                for name, of in self.terms.items()
            )
            return Objective((TermSettings("click"), *named), frozen)
        if teacher is None:
            return Objective()
        return distillation(teacher, **self.options, logit_variance=variance, seed=seed)


_EQUAL = "benchmarks.distillation_peers:EqualWidths"
_ROCKET = "benchmarks.distillation_peers:RocketLaunching"
# Cross layers are paired with those of a teacher of the same kind.
_CROSSED: dict[str, Any] = {"network": "dcnv2"}
_PLAIN: dict[str, Any] = {"unseen": False, "start": ""}
# What changes from "full"; options and params are changed one by one.
SYSTEMS: dict[str, dict[str, Any]] = {
    LABELS: {"teacher": "", **_PLAIN},
    FULL: {},
    "without unseen rows": {"unseen": False},
    "with unseen rows": {"unseen": True},
    # Rows nobody saw have nothing but logits.
    "without logit term": {"unseen": False, "options": {"logit_weight": 0.0}},
    "with hidden": {"options": {"layer_weights": 0.1}},
    "with hidden, learned pairs": {"options": {"layer_weights": 0.1, "pairing": "learned"}},
    "with embeddings": {"options": {"embedding_weight": 0.1}},
    "of cross layers": {"teacher": CROSSED, "params": _CROSSED},
    "of cross layers, with them": {
        "teacher": CROSSED,
        "params": _CROSSED,
        "options": {"cross_weight": 0.1},
    },
    "with cross-entropy": {"options": {"logit_loss": "cross_entropy", "logit_weight": 1.0}},
    "without start": {"start": ""},
    "start of layers": {"start": "layers"},
    "start of layers, untrained": {"start": "layers", "params": {"maxIter": 0}},
    "single teacher": {"teacher": SINGLE},
    "own ensemble": {"teacher": ENSEMBLE},
    "logits only": _PLAIN,
    "equal widths": {
        **_PLAIN,
        "terms": {"logits": "logit_weight", _EQUAL: "layer_weights"},
        "options": {"layer_weights": 0.1},
    },
    "rocket launching": {**_PLAIN, "teacher": "", "terms": {_ROCKET: "hint"}},
}


def systems(log: str) -> dict[str, System]:
    """Return the students of a log; one that would be "full" again is left out."""
    full = System(FULL_TEACHER[log], UNSEEN[log], options=OPTIONS, params=_params(log, FULL))
    found: dict[str, System] = {}
    for name, change in SYSTEMS.items():
        merged = {key: getattr(full, key) | change.get(key, {}) for key in ("options", "params")}
        system = replace(full, **{**change, **merged})
        if name == LABELS:
            system = replace(system, params=_params(log, LABELS))
        if _EQUAL in system.terms:
            system = replace(system, teacher=EQUAL_TEACHER[log])
        if _ROCKET in system.terms:
            system = replace(system, options={"hint": HINT[log]})
        if name == FULL or system != full:
            found[name] = system
    return found


def _params(log: str, name: str) -> dict[str, Any]:
    tuned = _COSINE | TUNED[log][name]
    # The schedule says how long it takes.
    return STUDENT | tuned | {"patience": tuned["maxIter"]}
