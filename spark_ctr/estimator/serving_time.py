"""Time to score a row, of several models side by side."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from threadpoolctl import threadpool_limits

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]

BATCH_ROWS = 8192
# The number of torch's threads is one for all threads of Python, so fits of a grid take turns.
_TURN = threading.Lock()


def microseconds_per_row(
    predictors: Mapping[str, Predictor],
    ids: np.ndarray,
    numeric: np.ndarray,
    *,
    repeats: int = 9,
    batch_rows: int = BATCH_ROWS,
) -> dict[str, float]:
    """Median time of scoring a row on one thread, ids already encoded.

    The models take turns, so that a change of the machine's speed meets all of them.

    Parameters
    ----------
    predictors : mapping of str to function
        From ids and numbers to logits, as a model's ``predictor()`` gives it.
    ids : ndarray [N, C], int32
    numeric : ndarray [N, M], float32
    repeats : int
        Timed passes over all rows, after one that is not timed.
    batch_rows : int
        Rows scored at a time.

    Returns
    -------
    dict of str to float
        Microseconds per row by model.

    Raises
    ------
    ValueError
        If there are no rows.
    """
    rows = len(ids)
    if not rows:
        raise ValueError("there are no rows to time")
    batches = [
        (ids[start : start + batch_rows], numeric[start : start + batch_rows])
        for start in range(0, rows, batch_rows)
    ]
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    with _TURN:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                for repeat in range(repeats + 1):
                    for name, predict in predictors.items():
                        began = time.perf_counter()
                        for batch in batches:
                            predict(*batch)
                        if repeat:
                            seconds[name].append(time.perf_counter() - began)
        finally:
            torch.set_num_threads(threads)
    return {name: 1e6 * statistics.median(found) / rows for name, found in seconds.items()}


def microseconds_in_batches(
    predictors: Mapping[str, Predictor], ids: np.ndarray, numeric: np.ndarray
) -> dict[str, float]:
    """Time models as `microseconds_per_row` does, on whole batches of `BATCH_ROWS` rows.

    Fewer rows than a batch are repeated, since a small batch costs more a row; those beyond the
    last whole batch are left out.
    """
    given = len(ids)
    if given:
        rows = np.arange(max(1, given // BATCH_ROWS) * BATCH_ROWS) % given
        ids, numeric = ids[rows], numeric[rows]
    return microseconds_per_row(predictors, ids, numeric)
