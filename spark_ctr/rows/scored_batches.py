"""What a Spark worker does with batches of rows: check their features, score them.

A worker imports this module, and with it neither torch nor pandas nor Spark's ML library; what the
loader of the network imports comes on top.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from spark_ctr.rows.shared_payload import Payload
from spark_ctr.rows.task_gpu import gpu_of_task
from spark_ctr.rows.worker_imports import forget_spark_archives
from spark_ctr.tables import Inputs

if TYPE_CHECKING:
    import pandas as pd

Predictor = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Ids int32 [B, ids_width], numbers float32 [B, M], invalid ones 0; and invalid rows [B].
Features = tuple[np.ndarray, np.ndarray, np.ndarray]

_CACHE_SIZE = 3
_predictors: OrderedDict[tuple[str, str, int | None], Predictor] = OrderedDict()


def predictor(loader: str, payload: Payload, device: str = "cpu") -> Predictor:
    """Predictor of this worker process, built once per model and kept for the next tasks.

    With another `device` than ``"cpu"``, the loader is told the task's GPU if it has one, and
    whether nothing else will do.
    """
    gpu = gpu_of_task(device)
    key, data = (loader, payload.digest, gpu), payload.read()
    if key not in _predictors:
        module, name = loader.split(":")
        load = getattr(importlib.import_module(module), name)
        _predictors[key] = load(data) if gpu is None else load(data, gpu, device == "cuda")
        if len(_predictors) > _CACHE_SIZE:
            _predictors.popitem(last=False)
    _predictors.move_to_end(key)
    return _predictors[key]


@dataclass(frozen=True)
class Scoring:
    """How the rows of a query are scored; travels with its plan.

    Attributes
    ----------
    inputs : Inputs
    tasks : int
        Logits of a row.
    policy : {"error", "skip", "keep"}
        For rows whose features are null, of wrong length, out of range or not finite.
    packed : bool
        Whether a row is the bytes that ``ctr_pack`` makes of it; else it is a struct of ids,
        numbers and the lengths of both arrays.
    loader : str
        "module:function" that makes a predictor from the payload, imported by the worker.
    payload : Payload
        Serialised network; in the plan, since broadcasts do not exist on Connect.
    device : {"auto", "cpu", "cuda"}
        Where it is computed; see `spark_ctr.rows.task_gpu.gpu_of_task`. Of a loader of one
        argument ``"cpu"``.
    """

    inputs: Inputs
    tasks: int
    policy: str
    packed: bool
    loader: str
    payload: Payload
    device: str = "cpu"

    def arrow(self, batches: Iterable[pa.Array]) -> Iterator[pa.Array]:
        """Yield the logits of batches that come as Arrow arrays."""
        features = arrow_packed_features if self.packed else struct_features
        for scores in self._scores(features(batch, self.inputs) for batch in batches):
            logits = _arrow(scores.ravel(), pa.float64())
            if self.tasks > 1:
                starts = np.arange(0, scores.size + 1, self.tasks, dtype=np.int32)
                logits = pa.ListArray.from_arrays(_arrow(starts, pa.int32()), logits)
            yield logits

    def pandas(self, batches: Iterable[pd.Series | pd.DataFrame]) -> Iterator[pd.Series]:
        """Yield the logits of batches that come as pandas has them."""
        import pandas as pd

        features = pandas_packed_features if self.packed else frame_features
        for scores in self._scores(features(batch, self.inputs) for batch in batches):
            yield pd.Series(scores[:, 0] if self.tasks == 1 else list(scores))

    def _scores(self, batches: Iterator[Features]) -> Iterator[np.ndarray]:
        """Logits of each batch, float64 [B, T]; nan for an invalid row under "skip"."""
        predict = predictor(self.loader, self.payload, self.device)
        forget_spark_archives()
        under_way: deque[np.ndarray] = deque()

        def checked() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for ids, numeric, bad in batches:
                if self.policy == "error" and bad.any():
                    raise ValueError(
                        f"{bad.sum()} of {len(bad)} rows in a batch have features that are null, "
                        "of wrong length, out of range or not finite; use handleInvalid='skip' or "
                        "'keep'"
                    )
                under_way.append(bad)
                yield ids, numeric

        for logits in _predictions(predict, checked()):
            scores, bad = logits.astype(np.float64), under_way.popleft()
            if self.policy == "skip":
                scores[bad] = np.nan
            yield scores


def _predictions(
    predict: Predictor, batches: Iterator[tuple[np.ndarray, np.ndarray]]
) -> Iterator[np.ndarray]:
    """Yield the logits of each batch, by what takes batches ahead where a predictor has it."""
    ahead = getattr(predict, "batches", None)
    return ahead(batches) if ahead else (predict(*batch) for batch in batches)


def _arrow(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    # pyarrow.array would import pandas.
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def frame_features(frame: pd.DataFrame, inputs: Inputs) -> Features:
    """Take the columns of :func:`spark_ctr.rows.scoring.feature_elements` apart, from pandas."""
    width, end = _widths(inputs)
    # A column with nulls arrives as float64, which holds every int32 exactly.
    ids = frame.iloc[:, :width].to_numpy(dtype=np.float64)
    numeric = frame.iloc[:, width:end].to_numpy(dtype=np.float32)
    lengths = frame.iloc[:, end:].to_numpy(dtype=np.float64)
    return _element_features(ids, numeric, lengths, inputs)


def struct_features(batch: pa.StructArray, inputs: Inputs) -> Features:
    """Take the columns of :func:`spark_ctr.rows.scoring.feature_elements` apart, from Arrow."""
    width, end = _widths(inputs)
    columns = [column.to_numpy(zero_copy_only=False) for column in batch.flatten()]

    def matrix(part: list[np.ndarray], dtype: type[np.floating]) -> np.ndarray:
        return np.array(part, dtype).reshape(len(part), len(batch)).T

    return _element_features(
        matrix(columns[:width], np.float64),
        matrix(columns[width:end], np.float32),
        matrix(columns[end:], np.float64),
        inputs,
    )


def _widths(inputs: Inputs) -> tuple[int, int]:
    """How many ids a row has, and how many ids and numbers."""
    return inputs.ids_width, inputs.ids_width + len(inputs.numeric)


def _element_features(
    ids: np.ndarray, numeric: np.ndarray, lengths: np.ndarray, inputs: Inputs
) -> Features:
    whole = (lengths == (inputs.ids_width, len(inputs.numeric))).all(1)
    return _checked(ids, numeric, whole, inputs)


def arrow_packed_features(batch: pa.Array, inputs: Inputs) -> Features:
    """Read what ``ctr_pack`` packed from the memory of a binary Arrow array."""
    step, rows = 4 * _widths(inputs)[1], len(batch)
    _, offsets, values = batch.buffers()
    whole = np.ones(rows, bool)
    if not rows:
        return _packed_features(b"", whole, inputs)
    kind: Any = np.int64 if pa.types.is_large_binary(batch.type) else np.int32
    ends = np.frombuffer(offsets, kind)[batch.offset :][: rows + 1]
    if ends[-1] - ends[0] == rows * step:
        return _packed_features(values.slice(ends[0]), whole, inputs)
    kept = np.frombuffer(values, np.uint8)[ends[:-1, None] + np.arange(step)]
    return _packed_features(kept, np.diff(ends) == step, inputs)


def pandas_packed_features(batch: pd.Series, inputs: Inputs) -> Features:
    """Read what ``ctr_pack`` packed from a Series of bytes."""
    step, rows = 4 * _widths(inputs)[1], batch.tolist()
    data = b"".join(rows)
    whole = np.ones(len(rows), bool)
    if len(data) != len(rows) * step:
        data = b"".join(row[:step] for row in rows)
        whole = np.fromiter(map(len, rows), np.int64, len(rows)) == step
    return _packed_features(data, whole, inputs)


def _packed_features(data: Any, whole: np.ndarray, inputs: Inputs) -> Features:
    """Features of rows of 4 bytes a number; those that are not whole had other arrays."""
    width, end = _widths(inputs)
    matrix = np.frombuffer(data, "<i4", len(whole) * end).reshape(len(whole), end)
    matrix = np.require(matrix, requirements="A")
    return _checked(matrix[:, :width], matrix[:, width:].view("<f4"), whole, inputs)


def _checked(ids: np.ndarray, numeric: np.ndarray, whole: np.ndarray, inputs: Inputs) -> Features:
    """Features of raw ids and numbers; invalid rows are those that are not whole too."""
    good_ids, good_numbers = inputs.id_range.valid(ids), np.isfinite(numeric)
    if good_ids.all() and good_numbers.all():
        return ids.astype(np.int32, copy=False), numeric, ~whole
    good = whole & good_ids.all(1) & good_numbers.all(1)
    ids = np.where(good_ids, ids, 0).astype(np.int32)
    return ids, np.where(good_numbers, numeric, np.float32(0)), ~good
