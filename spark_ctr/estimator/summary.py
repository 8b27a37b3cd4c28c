"""What happened in a training, saved with its model."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from spark_ctr.training.operating_points import best_threshold


@dataclass(frozen=True)
class TrainingSummary:
    """What happened in training; saved with the model.

    Attributes
    ----------
    history : dict
        Of :class:`spark_ctr.training.History`, nan as None.
    rows, positives, skipped : int
        Rows trained on (validation rows included), those with label 1, and rows left out.
    feed : str
        Reader used.
    extra : dict
        What a meta-estimator adds.
    dropped_negatives : int
        Training rows with label 0 that negative sampling left out.
    workers : int
        Processes that trained together.
    base_rate : float or None
        Share of clicks among the training rows, by weight and before negative sampling; training
        starts at it. None in models of earlier versions.
    operating : dict
        Clicks and rows of the validation rows above each of some thresholds of the probability, of
        :func:`spark_ctr.training.operating_points.operating_points`; empty without such rows.
        Of several tasks it is of the main one.
    tasks : dict
        Of several tasks, by name: rows whose label is ``known``, ``positives`` among them, and
        ``young`` ones, whose label may still change; and ``log_odds`` of the training rows.
    held_out : dict
        Which rows of the dataset chose the best epoch and were not trained on, ``by`` what: a
        "column", a "time" and its ``cut``, their "content", or "nothing". A calibrator of the
        scores finds them again by it. Empty in models of earlier versions.
    """

    history: dict[str, Any]
    rows: int
    positives: int
    skipped: int
    feed: str
    extra: dict[str, Any]
    dropped_negatives: int = 0
    workers: int = 1
    base_rate: float | None = None
    operating: dict[str, list[float]] = field(default_factory=dict)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    held_out: dict[str, Any] = field(default_factory=dict)

    @property
    def recalibration(self) -> dict[str, Any]:
        """Slope and offset fitted to the logits last, whether they are ``applied``, and why.

        ``log_loss`` is that of the validation rows before, ``cross_fitted`` that of each of them by
        what was fitted without it, ``events`` counts those of the rarer class. Empty where there
        were no validation rows or ``recalibrate`` was off.
        """
        return self.history.get("recalibration", {})

    def threshold(self, metric: str = "f1", beta: float = 1.0) -> float:
        """Threshold that is best on the validation rows, for the model's ``setThreshold``.

        Parameters
        ----------
        metric : {"f1", "youden", "rate"}
            "f1": F measure of the clicks, where recall weighs `beta` times what precision does;
            "youden": share of the clicks caught minus share of the others caught; "rate": as many
            predictions of a click as there are clicks.
        beta : float

        Raises
        ------
        ValueError
            Without validation rows of both labels, and for a model that an earlier version saved.
        """
        return best_threshold(self.operating, metric, beta)


def saved_summary(state: dict[str, Any]) -> TrainingSummary:
    """Rebuild the summary of a saved model.

    Raises
    ------
    ValueError
        If it is none.
    """
    summary = state.get("summary")
    kinds = {found.name: str(found.type).partition("[")[0] for found in fields(TrainingSummary)}
    if not isinstance(summary, dict) or not {*summary} <= {*kinds}:
        raise ValueError(f"summary is not one of a training: {summary!r:.100}")
    for name, value in summary.items():
        wanted = {"int": "int", "str": "str", "dict": "dict"}.get(kinds[name])
        if wanted and (type(value).__name__ != wanted or (wanted == "int" and value < 0)):
            raise ValueError(f"{name} of the summary is {value!r:.100}")
    return TrainingSummary(**summary)
