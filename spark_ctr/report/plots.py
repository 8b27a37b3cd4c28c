"""Plots of the report, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spark_ctr.report.figures import decimals, significant, size, whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spark_ctr.auction import Interval

_TEXT, _GRID, _SOFT = "#3a3d42", "#e3e5e8", "#8b9097"
_STYLES = (("#2b6ca3", "o"), ("#e08a1e", "s"), ("#1b7f6b", "^"), ("#8a5a9e", "D"))
# Panels of the slots' reliability, and letters of a slot's name.
_PANELS, _NAME = 12, 24
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
    if not curves:
        return None
    figure, (ax,) = _figure(1, width=6.6, height=4.6)
    draw_reliability(curves, ax)
    ax.set_xlabel("predicted click probability (mean of the bin)")
    ax.set_ylabel("observed click rate of the bin")
    _legend(ax, "upper left")
    return _svg(figure)


def draw_reliability(curves: Mapping[str, Sequence[Mapping[str, Any]]], ax: Axes) -> None:
    """Draw observed click rates over predicted probabilities, with two standard errors.

    Parameters
    ----------
    curves : mapping of str to sequence of mapping
        Points by name, each with ``mean_probability``, ``rate`` and ``rows``, as
        :meth:`CalibrationEvaluator.reliability` and :meth:`CalibrationEvaluator.measureSlots` give
        them; one at least.
    ax : matplotlib.axes.Axes
    """
    low, high = _square(ax, curves.values())
    # Beyond the points too, where panels share axes.
    ax.axline((low, low), (high, high), ls="--", color=_SOFT, lw=1.2, label="perfect calibration")
    for (name, points), (colour, marker) in zip(curves.items(), _styles(curves), strict=True):
        _curve(ax, points, low, colour, marker, ms=5, label=name)


def slots_figure(found: Mapping[str, Any]) -> str | None:
    """Draw the reliability of all rows and of the slots with most rows, a panel each.

    Parameters
    ----------
    found : mapping
        From `slot_calibration`; None is returned for none.
    """
    if not found or not found["slots"]:
        return None
    panels = [("all rows", found["all"])]
    panels += [(one["slot"] or "no value", one) for one in found["slots"][: _PANELS - 1]]
    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = _figure(columns, 0.5 + 2.3 * columns, 0.5 + 2.3 * rows, rows, alike=True)
    curves = [one["reliability"] for _, one in panels]
    for ax, (name, one) in zip(axes, panels, strict=False):
        low, high = _square(ax, curves)
        ax.plot([low, high], [low, high], "--", color=_SOFT, lw=1)
        (blue, marker), (orange, _), *_ = _STYLES
        _curve(ax, one["reliability"], low, blue if one is found["all"] else orange, marker, ms=3.5)
        ratio = decimals(one["calibration_ratio"], 2)
        short = name if len(name) <= _NAME else name[: _NAME - 1] + "…"
        ax.set_title(short, fontsize=10, color=_TEXT, parse_math=False, loc="left")
        said = f"{whole(one['rows'])} rows\nratio {ratio}"
        ax.text(0.04, 0.95, said, transform=ax.transAxes, va="top", fontsize=8, color=_TEXT)
    for ax in axes[len(panels) :]:
        ax.remove()
    figure.supxlabel("predicted click probability", fontsize=10, color=_TEXT)
    figure.supylabel("observed click rate", fontsize=10, color=_TEXT)
    return _svg(figure)


def _square(ax: Axes, curves: Iterable[Sequence[Mapping[str, Any]]]) -> tuple[float, float]:
    """Give both axes the range of some reliability curves; logarithmic where it is wide."""
    points = [point for curve in curves for point in curve]
    values = [point[name] for point in points for name in ("mean_probability", "rate")]
    positive = [value for value in values if value > 0]
    if positive and max(positive) > 20 * min(positive):
        ax.set(xscale="log", yscale="log")
        low, high = min(positive) / 1.5, min(1.0, max(positive) * 1.5)
    else:
        low, high = 0.0, min(1.0, 1.1 * max(values)) or 1.0
    ax.set(xlim=(low, high), ylim=(low, high))
    return low, high


def _curve(
    ax: Axes,
    points: Sequence[Mapping[str, Any]],
    low: float,
    colour: str,
    marker: str,
    **more: Any,
) -> None:
    """Draw a reliability curve with two standard errors of its click rates."""
    x = [point["mean_probability"] for point in points]
    y = [point["rate"] for point in points]
    error = [2 * math.sqrt(r * (1 - r) / p["rows"]) for r, p in zip(y, points, strict=True)]
    # Below, not under the axis.
    below = [min(e, r - low) if r > low else 0.0 for e, r in zip(error, y, strict=True)]
    ax.errorbar(
        x, y, yerr=[below, error], fmt=marker + "-", lw=1.4, elinewidth=0.8, color=colour, **more
    )


def draw_comparison(compared: Mapping[str, Mapping[str, Interval]], figure: str, ax: Axes) -> None:
    """Draw by how many percent a figure lies above the baseline's, with its interval.

    Parameters
    ----------
    compared : mapping of str to mapping of str to Interval
        By system, as :meth:`AuctionEvaluator.compare` gives it, drawn from the top down; those
        with "calibrated" in their name have a colour of their own.
    figure : str
        ``"welfare"`` or another one of the figures.
    ax : matplotlib.axes.Axes
    """
    names = list(compared)[::-1]
    found = [compared[name][figure] for name in names]
    values = [100 * interval.value for interval in found]
    below = [max(0.0, value - 100 * i.low) for value, i in zip(values, found, strict=True)]
    over = [max(0.0, 100 * i.high - value) for value, i in zip(values, found, strict=True)]
    (blue, _), (orange, _), *_ = _STYLES
    colours = [blue if "calibrated" in name else orange for name in names]
    ax.barh(names, values, color=colours, height=0.62)
    ax.errorbar(values, names, xerr=[below, over], fmt="none", ecolor=_TEXT, capsize=2.5, lw=1)
    ax.axvline(0, color=_TEXT, lw=0.8)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"{figure}, % above the baseline")
    ax.spines[["top", "right"]].set_visible(False)


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
    limit = front["loss_limit"] - full["log_loss"]

    def place(point: Mapping[str, Any]) -> tuple[float, float]:
        return point["microseconds_per_row"], point["log_loss"] - full["log_loss"]

    def draw(found: Sequence[Mapping[str, Any]], style: str, label: str = "", **more: Any) -> None:
        if found:
            ax.plot(*zip(*map(place, found), strict=True), style, label=label or None, **more)

    (blue, _), (orange, _), (green, _), *_ = _STYLES
    rounded, trained = ([p for p in points if p["trained"] == wanted] for wanted in (False, True))
    of_plan = {tuple(p["binary"]): p for p in [*rounded, *trained]}
    for point in rounded:
        draw([point, of_plan[tuple(point["binary"])]], ":", color=blue, lw=1)
    on_front = sorted((p for p in points if p["front"]), key=lambda p: (*place(p), p["bytes"]))
    draw(on_front, "-", "front", color=blue, lw=1.4)
    plan = {"ms": 8, "mec": blue, "mew": 1.4}
    draw(rounded, "o", "plan, rounded", mfc="white", **plan)
    draw(trained, "o", "plan, trained", mfc=blue, **plan)
    draw([full], "s", "full precision", ms=8, color=green)
    ring = {"ms": 16, "mec": orange, "mfc": "none", "mew": 2}
    draw([p for p in points if p["chosen"]], "o", "taken", **ring)
    ax.axhline(limit, ls="--", lw=1, color="#8b9097", label="most loss that is acceptable")
    target = front["targets"]["microseconds_per_row"]
    if target is not None:
        ax.axvline(target, ls="-.", lw=1, color="#8b9097", label="targetLatency")
    middle = max(place(p)[0] for p in [full, *points]) / 2
    for point in [full, *of_plan.values()]:
        right = place(point)[0] > middle
        bits = f"{len(point['binary'])} × 1 bit" if point.get("binary") else "8 bits"
        words = "32 bits" if point is full else bits
        ax.annotate(
            f"{words}, {size(point['bytes'])}",
            place(point),
            (-12 if right else 12, 6),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=8,
            color=_TEXT,
            bbox={"fc": "white", "ec": "none", "pad": 1, "alpha": 0.85},
        )
    # What was rounded to 1 bit may lose a hundred times what is acceptable.
    if limit > 0 and max(place(p)[1] for p in points) > 10 * limit:
        ax.set_yscale("symlog", linthresh=limit, linscale=0.5)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.set_xlim(left=0)
    ax.margins(y=0.1)
    ax.set_xlabel("time per row, µs")
    ax.set_ylabel("log loss minus that of full precision")
    _legend(ax, "best")


def _figure(
    panels: int, width: float, height: float, rows: int = 1, alike: bool = False
) -> tuple[Figure, Sequence[Axes]]:
    """Figure in inches that pyplot does not know, so that no display or state is touched."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    grid = figure.subplots(rows, panels, squeeze=False, sharex=alike, sharey=alike)
    axes = [ax for row in grid for ax in row]
    for ax in axes:
        if panels == 1 or alike:
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
