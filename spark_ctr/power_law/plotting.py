"""Plot of a column's count distribution with its power-law fit and frequency cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .axes import CUT, TEXT, finish, new_axes
from .fit import PowerLawFit
from .histogram import CountHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DATA, _FIT = "#2b6ca3", "#d1495b"


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
    if not len(hist.values):
        raise ValueError("plot_ccdf needs a column with at least one value")
    ax = new_axes() if ax is None else ax
    share = hist.tail_values / hist.n
    right = float(hist.values[-1]) * 1.6
    ax.set_xscale("log")
    ax.set_yscale("log")
    if cut is not None and cut <= right:
        head = hist.values_at_least(cut)
        ax.axvspan(cut, right, color=CUT, alpha=0.09, lw=0)
        ax.axvline(cut, color=CUT, lw=1.2, label=f"cut {cut:,}: {head:,} private rows")
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
    if title:
        ax.set_title(title, loc="left", color=TEXT, fontweight="bold")
    return finish(
        ax, "rows in which a value occurs, x", "share of values with x rows or more", "lower left"
    )
