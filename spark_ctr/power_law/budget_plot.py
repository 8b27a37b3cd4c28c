"""Plot of what a budget of embedding rows buys in each column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .axes import CUT, finish, new_axes
from .columns import ColumnDecision, ColumnStats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 40
_LABELLED = 8  # more lines than that cannot be told apart


def coverage_curve(
    stats: Sequence[ColumnStats],
    decide: Callable[[int], list[ColumnDecision]],
    budgets: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Return what each budget covers.

    Parameters
    ----------
    stats : sequence of ColumnStats
    decide : function of a budget
        `select_columns` on these columns.
    budgets : sequence of int, length B
        Those that are too small for any decision give NaN.

    Returns
    -------
    columns : float64 array, shape (B, C)
        Share of each column's rows whose value has a private row; NaN where the column is dropped.
    overall : float64 array, shape (B,)
        The same over all columns that are kept.
    """
    columns = np.full((len(budgets), len(stats)), np.nan)
    rows = np.array([s.histogram.total for s in stats], float)
    for i, budget in enumerate(budgets):
        try:
            decisions = decide(budget)
        except ValueError:
            continue
        kept = [d.coverage if d.decision != "drop" else np.nan for d in decisions]
        columns[i] = np.array(kept, float)
    known = ~np.isnan(columns)
    held = (known * rows).sum(axis=1)
    covered = (np.nan_to_num(columns) * rows).sum(axis=1)
    overall = np.divide(covered, held, out=np.full(len(budgets), np.nan), where=held > 0)
    return columns, overall


def plot_budget(
    stats: Sequence[ColumnStats],
    decide: Callable[[int], list[ColumnDecision]],
    budget: int,
    unit: str = "rows",
    ax: Axes | None = None,
) -> Axes:
    """Draw coverage against the budget: all kept columns together, and the hardest ones.

    Parameters
    ----------
    stats, decide
        As in `coverage_curve`.
    budget : int
        The one taken; drawn as a vertical line.
    unit : {"rows", "bytes"}
    ax : matplotlib Axes, optional
        A new figure of 6.4 x 4.4 inches when not given; it is not registered with pyplot.

    Returns
    -------
    matplotlib Axes
    """
    ax = new_axes() if ax is None else ax
    everything = sum(s.histogram.n + 2 for s in stats) * (16 * 4 if unit == "bytes" else 1)
    least = 2 * max(len(stats), 1)
    ends = min(least, budget), max(everything, least + 1)
    budgets = np.unique(np.geomspace(*ends, _POINTS).astype(np.int64))
    # the point on the line itself, where the line crosses the curves
    budgets = np.union1d(budgets, [min(budget, int(ends[1]))])
    columns, overall = coverage_curve(stats, decide, budgets.tolist())
    kept = np.flatnonzero(np.isfinite(columns).any(axis=0))
    widest = sorted(kept, key=lambda i: -stats[i].histogram.n)
    for i in widest[:_LABELLED]:
        name = f"{stats[i].name} ({stats[i].histogram.n:,} values)"
        ax.plot(budgets, columns[:, i], lw=1.3, label=name)
    ax.plot(budgets, overall, lw=2.6, color="black", label="all kept columns")
    ax.axvline(budget, color=CUT, lw=1.2, ls="--", label=f"budget {budget:,} {unit}")
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.02)
    return finish(
        ax, f"budget, embedding {unit}", "share of rows whose value has a private row", "best"
    )
