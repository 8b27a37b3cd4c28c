"""The look that all plots of this package share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CUT, TEXT = "#5b5f66", "#3a3d42"


def new_axes() -> Axes:
    """Return axes of 6.4 x 4.4 inches, on a figure that is not registered with pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.4), dpi=110, layout="constrained").add_subplot()


def finish(ax: Axes, x: str, y: str, legend: Literal["best", "lower left"]) -> Axes:
    """Label the axes, draw grid and legend and return them."""
    ax.set_xlabel(x, color=TEXT)
    ax.set_ylabel(y, color=TEXT)
    ax.grid(True, which="major", color="#e3e5e8", lw=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=TEXT)
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc=legend)
    return ax
