"""Write report.html and report.json, and the closing table of the terminal."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment

from spark_ctr.report.figures import FILTERS, decimals, percent, significant, size
from spark_ctr.report.plots import (
    cost_figure,
    front_figure,
    reliability_figure,
    slots_figure,
    training_figure,
)
from spark_ctr.report.verdict import headline, interval, loss_warnings

_SUSPICIOUS = 0.5
MODELS = ("teacher", "student", "quantised")
_MODEL_FACTS = (
    "auc",
    "auc_error",
    "log_loss",
    "calibration_ratio",
    "expected_calibration_error",
    "bytes",
    "microseconds_per_row",
    "reliability",
    "description",
)
_SECTIONS: dict[str, Callable[[], Any]] = {
    "data": dict,
    "models": dict,
    "constant": dict,
    "slots": dict,
    "columns": list,
    "selection": list,
    "cleaning": list,
    "tables": list,
    "training": dict,
    "quantisation": dict,
    "environment": dict,
    "seconds": dict,
}


def write_report(
    html_path: str,
    json_path: str,
    facts: Mapping[str, Any],
    figures: Iterable[tuple[str, str]] = (),
) -> None:
    """Write what a run found as one self-contained HTML page and as JSON.

    Parameters
    ----------
    html_path, json_path : str
        Local files; their folders are made where they do not exist.
    facts : mapping
        title, data, models, constant (of :func:`constant_rate`), slots (of
        :func:`slot_calibration`), columns, selection, cleaning, tables, training, quantisation,
        environment and seconds; a section that is absent
        or empty is left out of the page. The JSON file holds the facts as they are, with null for
        nan and infinity.
    figures : iterable of (str, str)
        Column and SVG text, from :func:`selection_figures`.

    Raises
    ------
    TypeError
        If a fact has no JSON form; the message names it.
    """
    plain = _plain(facts, "facts")
    html = _page(plain, list(figures))
    for path, text in (
        (html_path, html),
        (json_path, json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False) + "\n"),
    ):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


def format_table(facts: Mapping[str, Any]) -> str:
    """Table of the models for a terminal.

    Parameters
    ----------
    facts : mapping
        As for :func:`write_report`; only ``models`` and ``constant`` are read.

    Returns
    -------
    str
        Lines of equal length: a heading, a line a model, and one of the constant rate.
    """
    rows = [("model", "AUC", "log loss", "calibration", "size", "µs per row")]
    models = _models(_plain(facts.get("models") or {}, "facts.models"))
    constant = _plain(facts.get("constant") or {}, "facts.constant")
    if constant:
        models["constant rate"] = dict.fromkeys(_MODEL_FACTS) | constant
    for name, model in models.items():
        rows.append(
            (
                name,
                decimals(model["auc"]) + interval(model),
                decimals(model["log_loss"]),
                decimals(model["calibration_ratio"], 3),
                size(model["bytes"]),
                significant(model["microseconds_per_row"]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def leak_warnings(selector_model: Any) -> list[str]:
    """Name columns that know the label too well to be known before it.

    Parameters
    ----------
    selector_model : PowerLawFeatureSelectorModel

    Returns
    -------
    list of str
        A sentence for each column that removes over half of the label's uncertainty by itself.
    """
    return [
        f"column {facts['column']!r} alone removes {percent(facts['relevance'])} of the label's "
        "uncertainty: leave it out if it is not known before the click"
        for facts in selector_model.decisions
        if (facts["relevance"] or 0.0) > _SUSPICIOUS
    ]


def _page(facts: dict[str, Any], figures: list[tuple[str, str]]) -> str:
    sections = {name: facts.get(name) or empty() for name, empty in _SECTIONS.items()}
    sections["models"] = models = _models(sections["models"])
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(FILTERS | {"interval": interval})
    template = environment.from_string(
        (files(__package__) / "template.html.j2").read_text(encoding="utf-8")
    )
    plots = {
        "reliability": reliability_figure(models),
        "slots": slots_figure(sections["slots"]),
        "training": training_figure(_ordered(sections["training"])),
        "cost": cost_figure(models),
        "front": front_figure(sections["quantisation"].get("front")),
    }
    return template.render(
        **sections,
        title=facts.get("title") or "Click-through-rate model",
        headline=headline(models, sections["constant"]),
        worse=loss_warnings(models, sections["constant"]),
        kept=[row for row in sections["selection"] if row["decision"] != "drop"],
        plots={name: _data_uri(svg) for name, svg in plots.items() if svg},
        figures=[(name, _data_uri(svg)) for name, svg in figures],
    )


def _models(models: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Models in the order of the pipeline, with every fact present."""
    return {
        name: dict.fromkeys(_MODEL_FACTS) | dict(model) for name, model in _ordered(models).items()
    }


def _ordered(found: Mapping[str, Any]) -> dict[str, Any]:
    known = [name for name in MODELS if found.get(name)]
    return {name: found[name] for name in [*known, *(n for n in found if n not in MODELS)]}


def _data_uri(svg: str) -> str:
    """SVG as an image: ids of several plots cannot clash, and nothing in it can run."""
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _plain(value: Any, path: str) -> Any:
    """JSON-able copy: numpy scalars become numbers, nan and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return _plain(value.tolist(), path)
    raise TypeError(f"{path} is a {type(value).__name__}, which JSON cannot hold: {value!r}")
