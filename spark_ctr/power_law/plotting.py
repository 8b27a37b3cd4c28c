"""Plot of a column's count distribution with its power-law fit and frequency cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .fit import PowerLawFit
from .histogram import CountHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DATA, _FIT, _CUT, _TEXT = "#2b6ca3", "#d1495b", "#5b5f66", "#3a3d42"


def plot_ccdf(
    hist: CountHistogram,
    fit: PowerLawFit | None = None,
    cut: int | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the share of column values that occur at least x times, both axes logarithmic.

    Parameters
    ----------
    hist : CountHistogram
    fit : PowerLawFit, optional
        Drawn from xmin on as a dashed line, scaled to the observed share at xmin.
    cut : int, optional
        Frequency cut: the side with private rows is shaded.
    ax : matplotlib Axes, optional
        A new figure of 6.4 x 4.4 inches when not given; it is not registered with pyplot.
    title : str, optional

    Returns
    -------
    matplotlib Axes
    """
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(6.4, 4.4), dpi=110, layout="constrained").add_subplot()
    share = hist.tail_values / hist.n
    right = float(hist.values[-1]) * 1.6
    ax.set_xscale("log")
    ax.set_yscale("log")
    if cut is not None and cut <= right:
        head = hist.values_at_least(cut)
        ax.axvspan(cut, right, color=_CUT, alpha=0.09, lw=0)
        ax.axvline(cut, color=_CUT, lw=1.2, label=f"cut {cut:,}: {head:,} private rows")
    ax.plot(
        hist.values,
        share,
        "o",
        ms=4,
        color=_DATA,
        mec="white",
        mew=0.4,
        label=f"{hist.n:,} values",
        rasterized=len(hist.values) > 2000,
    )
    if fit is not None:
        x = np.unique(np.round(np.geomspace(fit.xmin, max(right / 1.6, fit.xmin + 1), 200)))
        ax.plot(
            x,
            fit.n_tail / hist.n * fit.survival(x),
            "--",
            lw=2,
            color=_FIT,
            label=f"power law α = {fit.alpha:.2f} ± {fit.alpha_se:.2f}, xmin = {fit.xmin:,}, "
            f"D = {fit.ks_distance:.3f}",
        )
    ax.set_xlim(0.8 * float(hist.values[0]), right)
    ax.set_ylim(0.5 / hist.n, 1.8)
    ax.set_xlabel("rows in which a value occurs, x", color=_TEXT)
    ax.set_ylabel("share of values with x rows or more", color=_TEXT)
    if title:
        ax.set_title(title, loc="left", color=_TEXT, fontweight="bold")
    ax.grid(True, which="major", color="#e3e5e8", lw=0.7)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(colors=_TEXT)
    ax.legend(frameon=True, framealpha=0.9, edgecolor="none", fontsize=9, loc="lower left")
    return ax
