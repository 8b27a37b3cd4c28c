"""What a run's figures say in sentences: whether a model is worth anything, and then how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spark_ctr.report.figures import percent, signed, significant
from spark_ctr.training.auc_uncertainty import Z_95

Facts = Mapping[str, Any]

_BIASED = 0.1


def loss_warnings(models: Mapping[str, Facts], constant: Facts) -> list[str]:
    """Name the models whose probabilities are worse than one rate for every row.

    Parameters
    ----------
    models : mapping of str to mapping
        By name, with log_loss.
    constant : mapping
        From :func:`spark_ctr.report.constant_rate`; empty if it was not measured.

    Returns
    -------
    list of str
        A sentence for each such model.
    """
    return [
        f"the log loss of the {name} model ({significant(facts['log_loss'], 4)}) is above that of "
        f"predicting the constant rate ({significant(constant['log_loss'], 4)}): its probabilities "
        "are worse than none"
        for name, facts in models.items()
        if _is_worse(facts, constant)
    ]


def headline(models: Mapping[str, Facts], constant: Facts) -> str | None:
    """Say what matters of the smallest model: its loss, then ranking and calibration, then cost.

    Size and time are not told of a model that is no better than a constant, nor against one.
    """
    name = "quantised" if "quantised" in models else next(reversed(list(models)), None)
    if name is None:
        return None
    model = models[name]
    if _is_worse(model, constant):
        return (
            f"The {name} model is worse than predicting the same rate for every impression: its "
            f"log loss is {significant(model['log_loss'], 4)}, the constant rate's "
            f"{significant(constant['log_loss'], 4)}. Its size and speed do not matter."
        )
    sentences = [_quality(name, model, constant)]
    teacher = models.get("teacher")
    if name != "teacher" and teacher is not None:
        if _is_worse(teacher, constant):
            sentences.append("The teacher is worse than the constant rate, so no measure for it.")
        else:
            sentences.append(_against(model, teacher))
    return " ".join(filter(None, sentences)) or None


def interval(model: Facts) -> str:
    """AUC with half of its 95 % interval, as " ± 0.0012"; empty where it is not known."""
    error = model.get("auc_error")
    return "" if error is None else f" ± {Z_95 * error:.4f}"


def _quality(name: str, model: Facts, constant: Facts) -> str:
    has, claims = [], []
    if model["log_loss"] is not None and constant.get("log_loss"):
        share = 1 - model["log_loss"] / constant["log_loss"]
        has.append(
            f"a log loss of {model['log_loss']:.4f}, {percent(share)} below that of the constant "
            f"rate ({constant['log_loss']:.4f})"
        )
    if model["auc"] is not None:
        has.append(f"an AUC of {model['auc']:.4f}{interval(model)}{_chance(model)}")
    if has:
        claims.append(f"has {', and '.join(has)}")
    ratio = model["calibration_ratio"]
    if ratio is not None:
        words = f"promises {ratio:.2f} times the clicks that came"
        claims.append(words + (", which is off" if abs(ratio - 1) > _BIASED else ""))
    return f"The {name} model {'; it '.join(claims)}." if claims else ""


def _chance(model: Facts) -> str:
    error = model.get("auc_error")
    told = error is None or abs(model["auc"] - 0.5) > Z_95 * error
    return "" if told else " (not to be told from chance)"


def _against(model: Facts, teacher: Facts) -> str:
    claims = []
    for key, less, more in (
        ("bytes", "smaller", "larger"),
        ("microseconds_per_row", "faster", "slower"),
    ):
        if teacher[key] and model[key]:
            ratio = teacher[key] / model[key]
            claims.append(
                f"{significant(max(ratio, 1 / ratio))} times {less if ratio >= 1 else more}"
            )
    changes = [
        f"{signed(model[key] - teacher[key])} in {words}"
        for key, words in (("log_loss", "log loss"), ("auc", "AUC"))
        if model[key] is not None and teacher[key] is not None
    ]
    cost = f" is {_listed(claims)} than the teacher" if claims else ""
    change = f"{' for' if cost else ' differs from the teacher by'} {_listed(changes)}"
    return f"It{cost}{change if changes else ''}." if claims or changes else ""


def _is_worse(model: Facts, constant: Facts) -> bool:
    ours, least = model.get("log_loss"), constant.get("log_loss")
    return ours is not None and least is not None and ours >= least


def _listed(claims: list[str]) -> str:
    return claims[0] if len(claims) == 1 else f"{', '.join(claims[:-1])} and {claims[-1]}"
