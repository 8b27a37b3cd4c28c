"""Plots of the report, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spark_ctr.report.figures import significant, size

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEXT, _GRID = "#3a3d42", "#e3e5e8"
_STYLES = (("#2b6ca3", "o"), ("#e08a1e", "s"), ("#1b7f6b", "^"), ("#8a5a9e", "D"))
# Without these entries matplotlib writes no RDF block, which names hosts and the date.
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def selection_figures(selector_model: Any, max_columns: int = 6) -> list[tuple[str, str]]:
    """Count distributions of the columns with the most distinct values.

    Parameters
    ----------
    selector_model : PowerLawFeatureSelectorModel
    max_columns : int
        At most so many plots.

    Returns
    -------
    list of (str, str)
        Column name and SVG text. A column without a fitted power law shows its counts only.
    """
    decisions = [facts for facts in selector_model.decisions if facts["distinct"] > 0]
    widest = sorted(decisions, key=lambda facts: (-facts["distinct"], facts["column"]))
    drawn = []
    for facts in widest[:max_columns]:
        figure, (ax,) = _figure(1, width=6.0, height=4.2)
        selector_model.plotCCDF(facts["column"], ax)
        # A "$" in a name must not start a formula.
        for title in (ax.title, ax._left_title):  # type: ignore[attr-defined]
            title.set_parse_math(False)
        drawn.append((facts["column"], _svg(figure)))
    return drawn


def reliability_figure(models: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Draw observed click rates over predicted probabilities; None without points."""
    curves = {name: facts["reliability"] for name, facts in models.items() if facts["reliability"]}
    values = [
        value
        for points in curves.values()
        for point in points
        for value in (point["mean_probability"], point["rate"])
    ]
    if not values:
        return None
    figure, (ax,) = _figure(1, width=6.6, height=4.6)
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 20 * min(positive):
        ax.set(xscale="log", yscale="log")
        low, high = min(positive) / 1.5, min(1.0, max(positive) * 1.5)
    else:
        low, high = 0.0, min(1.0, 1.1 * max(values)) or 1.0
    ax.plot([low, high], [low, high], "--", color="#8b9097", lw=1.2, label="perfect calibration")
    for (name, points), (colour, marker) in zip(curves.items(), _styles(curves), strict=True):
        x = [point["mean_probability"] for point in points]
        y = [point["rate"] for point in points]
        # Two standard errors of a click rate; below, not under the axis.
        error = [2 * math.sqrt(r * (1 - r) / p["rows"]) for r, p in zip(y, points, strict=True)]
        below = [min(e, r - low) if r > low else 0.0 for e, r in zip(error, y, strict=True)]
        ax.errorbar(
            x,
            y,
            yerr=[below, error],
            fmt=marker + "-",
            ms=5,
            lw=1.4,
            elinewidth=0.8,
            color=colour,
            label=name,
        )
    ax.set(xlim=(low, high), ylim=(low, high))
    ax.set_xlabel("predicted click probability (mean of the bin)")
    ax.set_ylabel("observed click rate of the bin")
    _legend(ax, "upper left")
    return _svg(figure)


def training_figure(histories: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Draw the validation log loss per epoch; None without validation rows."""
    curves = {}
    for name, history in histories.items():
        epochs = [record for record in history["epochs"] if _finite(record.get("valid_loss"))]
        if epochs:
            curves[name] = (epochs, history["best_epoch"])
    if not curves:
        return None
    figure, (ax,) = _figure(1, width=6.6, height=4.2)
    for (name, (epochs, best)), (colour, marker) in zip(
        curves.items(), _styles(curves), strict=True
    ):
        ax.plot(
            [record["epoch"] + 1 for record in epochs],
            [record["valid_loss"] for record in epochs],
            marker + "-",
            ms=5,
            lw=1.6,
            color=colour,
            label=name,
        )
        chosen = [record for record in epochs if record["epoch"] == best]
        ax.plot(
            [record["epoch"] + 1 for record in chosen],
            [record["valid_loss"] for record in chosen],
            "o",
            ms=12,
            mfc="none",
            mec=colour,
            mew=1.4,
        )
    ax.plot([], [], "o", ms=9, mfc="none", mec=_TEXT, label="epoch that was kept")
    ax.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    ax.set_xlabel("epoch")
    ax.set_ylabel("log loss on the validation rows")
    _legend(ax, "best")
    return _svg(figure)


def cost_figure(models: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Draw size and time per row as bars; None without any."""
    panels = [
        (title, key, word)
        for title, key, word in (
            ("size of the model", "bytes", size),
            ("time per row, µs", "microseconds_per_row", significant),
        )
        if any(_finite(facts.get(key)) for facts in models.values())
    ]
    if not panels:
        return None
    figure, axes = _figure(len(panels), width=8.0, height=0.8 + 0.5 * len(models))
    for ax, (title, key, word) in zip(axes, panels, strict=True):
        names = [name for name in models if _finite(models[name].get(key))]
        colours = dict(zip(models, (colour for colour, _ in _styles(models)), strict=True))
        bars = ax.barh(
            names,
            [models[name][key] for name in names],
            color=[colours[name] for name in names],
            height=0.62,
        )
        ax.bar_label(bars, [word(models[name][key]) for name in names], padding=4, color=_TEXT)
        ax.margins(x=0.28)
        ax.invert_yaxis()
        ax.set_xticks([])
        ax.spines["bottom"].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.set_title(title, loc="left", color=_TEXT, fontsize=10, fontweight="bold")
    return _svg(figure)


def front_figure(front: Mapping[str, Any] | None) -> str | None:
    """Draw plans of quantisation as `draw_front` does; None without any."""
    if not front or not front.get("points"):
        return None
    figure, (ax,) = _figure(1, width=7.4, height=4.8)
    draw_front(front, ax)
    return _svg(figure)


def draw_front(front: Mapping[str, Any], ax: Axes) -> None:
    """Draw log loss over time per row of all plans of a quantisation, with their bytes.

    Parameters
    ----------
    front : mapping
        ``summary.extra["front"]`` of a quantised model.
    ax : matplotlib.axes.Axes
    """
    full, points = front["full"], front["points"]

    def place(point: Mapping[str, Any]) -> tuple[float, float]:
        return point["microseconds_per_row"], point["log_loss"] - full["log_loss"]

    def mark(points: Sequence[Mapping[str, Any]], label: str, **style: Any) -> None:
        if points:
            ax.plot(*zip(*map(place, points), strict=True), ls="", label=label, **style)

    on_front = sorted((p for p in points if p["front"]), key=lambda p: (place(p), p["bytes"]))
    (blue, _), (orange, _), (green, _), *_ = _STYLES
    ax.plot(*zip(*map(place, on_front), strict=True), color=blue, lw=1.2, label="front")
    mark([full], "full precision", marker="s", ms=8, color=green)
    for trained, face, word in ((False, "white", "rounded"), (True, blue, "trained")):
        found = [p for p in points if p["trained"] == trained]
        mark(found, f"plan, {word}", marker="o", ms=8, mec=blue, mfc=face, mew=1.4)
    chosen = [p for p in points if p["chosen"]]
    mark(chosen, "taken", marker="o", ms=16, mec=orange, mfc="none", mew=2)
    for point in [full, *points]:
        words = size(point["bytes"])
        if point is not full:
            words = f"{len(point['binary'])} × 1 bit, {words}"
        ax.annotate(
            words,
            place(point),
            (10, 6),
            textcoords="offset points",
            fontsize=8,
            color=_TEXT,
        )
    ax.axhline(front["loss_limit"] - full["log_loss"], ls="--", lw=1, color="#8b9097")
    ax.set_xlabel("time per row, µs")
    ax.set_ylabel("log loss minus that of full precision")
    _legend(ax, "best")


def _figure(panels: int, width: float, height: float) -> tuple[Figure, Sequence[Axes]]:
    """Figure in inches that pyplot does not know, so that no display or state is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax in axes:
        if panels == 1:
            ax.grid(color=_GRID, lw=0.7)
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(colors=_TEXT)
        ax.xaxis.label.set_color(_TEXT)
        ax.yaxis.label.set_color(_TEXT)
    return figure, axes


def _legend(ax: Axes, place: str) -> None:
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc=place)  # type: ignore[call-overload]


def _styles(curves: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [_STYLES[index % len(_STYLES)] for index in range(len(curves))]


def _svg(figure: Figure) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "spark_ctr", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata=_NO_METADATA)
    return text.getvalue()


def _finite(value: Any) -> bool:
    return value is not None and math.isfinite(value)
