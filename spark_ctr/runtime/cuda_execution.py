"""Programs run on a CUDA device: chunks of rows, two of them under way at a time."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from spark_ctr.kernels import cuda
from spark_ctr.kernels.cuda import CudaError, Device, Memory, OutOfDeviceMemory, row_chunks
from spark_ctr.runtime.cuda_calls import calls_of, row_bytes
from spark_ctr.runtime.cuda_launch import FIRST_BAD, IDS, Argument, At, Call, Rows
from spark_ctr.runtime.memory import places
from spark_ctr.runtime.plan import NUMERIC_VALUE, Plan
from spark_ctr.runtime.planner import NotNative, plan_of
from spark_ctr.runtime.program import Program
from spark_ctr.tables import Inputs

logger = logging.getLogger("spark_ctr")

# Device memory for the values of all chunks that are under way; weights come on top.
CHUNK_BYTES = 1 << 28
# Copies of one chunk overlap the kernels of another.
_LANES = 2
CHUNK_ROWS = 1 << 16
_FLAG_BYTES = 8
_NONE_BAD = np.iinfo(np.uint64).max
# Valid for no column: tables have fewer rows.
_NO_ID = np.iinfo(np.int32).max

Batch = tuple[np.ndarray, np.ndarray]


class CudaExecution:
    """A program ready to run on a device; scores are those of `Execution`, to the bit.

    It holds the weights, and memory for two chunks of rows, as long as it lives. If the device has
    no room for the chunks, it tries halves once, and says so.

    Parameters
    ----------
    program : Program
    tasks : int
        Logits of a row.
    device : Device
    memory : int
        Bytes of the device that the values of the chunks may take together.
    most_rows : int
        Of a chunk, whatever the memory.
    fused : bool
        Whether a student is one launch where that can be.

    Attributes
    ----------
    chunk : int
        Most rows that are computed at a time.

    Raises
    ------
    NotNative
        If only NumPy can run the program; the message says why.
    CudaError, CompilerMissingError, CompileError
        If the device cannot run the kernels.
    OutOfDeviceMemory
        If the weights, or halves of the chunks, do not fit.
    """

    def __init__(
        self,
        program: Program,
        tasks: int,
        device: Device,
        memory: int = CHUNK_BYTES,
        most_rows: int = CHUNK_ROWS,
        *,
        fused: bool = True,
    ) -> None:
        plan, self._inputs = plan_of(program), program.inputs
        self._tasks, self._device = tasks, device
        self._weights: list[Memory] = []
        device.enter()
        stream = device.stream()

        def upload(array: np.ndarray) -> int:
            usable = np.require(array, requirements=["C", "A"])
            self._weights.append(device.allocate(usable.nbytes))
            stream.copy_in(self._weights[-1].address, usable)
            # The copy may be gone before a copy of it is.
            stream.synchronise()
            return self._weights[-1].address

        self._calls = calls_of(plan, program.inputs, upload, fused=fused)
        for call in self._calls:
            device.load(call.source, call.kernel)
        self._layout = _layout(plan, program.inputs, self._calls)
        self.chunk = self._chunk_of(memory, most_rows)
        self._lanes = self._lanes_that_fit()
        self._at_work, self._last = False, self._lanes[0]

    def _chunk_of(self, memory: int, most_rows: int) -> int:
        """Return how many rows fit, a multiple of `BLOCK_ROWS`."""
        row_bytes = max(self._layout.row_bytes, 1)
        try:
            first, last = next(row_chunks(most_rows, row_bytes, memory // _LANES))
        except ValueError as error:
            raise NotNative(str(error)) from None
        return last - first

    def _lanes_that_fit(self) -> list[_Lane]:
        try:
            return self._new_lanes()
        except OutOfDeviceMemory as error:
            self.chunk //= 2
            logger.warning("chunks of %d rows instead of twice as many: %s", self.chunk, error)
        # Behind the error, whose traceback holds what was allocated before it.
        return self._new_lanes()

    def _new_lanes(self) -> list[_Lane]:
        shape = self._inputs.ids_width, len(self._inputs.numeric), self._tasks
        return [
            _Lane(self._device, self._calls, self._layout, self.chunk, shape) for _ in range(_LANES)
        ]

    def __call__(self, ids: np.ndarray, numeric: np.ndarray, logits: np.ndarray) -> None:
        """Compute ids [B, ids_width] and numbers [B, M] float32 into logits [B, T].

        Raises
        ------
        IndexError
            If an id lies outside its table.
        CudaError
            If the device fails.
        """
        for made in self.batches([(ids, numeric)]):
            logits[:] = made

    def batches(self, batches: Iterable[Batch]) -> Iterator[np.ndarray]:
        """Yield the logits of each batch, float32 [B, T], taking one batch ahead.

        Errors are those of a call.
        """
        if self._at_work:
            raise RuntimeError("the device is at work on other batches of this model")
        self._at_work = True
        self._device.enter()
        under_way: deque[_Chunk] = deque()
        lanes = itertools.cycle(self._lanes)
        try:
            for ids, numeric in batches:
                logits = np.empty((len(ids), self._tasks), np.float32)
                starts = range(0, max(len(ids), 1), self.chunk)
                for start in starts:
                    if len(under_way) == _LANES:
                        yield from self._finished(under_way.popleft())
                    rows, lane = slice(start, start + self.chunk), next(lanes)
                    whole = logits if start == starts[-1] else None
                    under_way.append(_Chunk(lane, ids[rows], logits[rows], whole))
                    lane.start(ids[rows], numeric[rows])
                    self._last = lane
            while under_way:
                yield from self._finished(under_way.popleft())
        finally:
            # After an error, or for a caller that stops early: memory is not to be written later.
            for chunk in under_way:
                chunk.lane.abandon()
            self._at_work = False

    def launch_again(self) -> None:
        """Launch the kernels once more on the rows of the last chunk, which the device still has.

        It returns before they are done; `synchronise` waits. For measurements.
        """
        self._last.launch()

    def synchronise(self) -> None:
        """Wait for `launch_again`."""
        self._last.synchronise()

    def _finished(self, chunk: _Chunk) -> Iterator[np.ndarray]:
        """Wait for a chunk, and yield the logits of its batch if it was the last one."""
        if not chunk.lane.finish(chunk.logits):
            self._inputs.id_range.check(chunk.ids.astype(np.int64))
        if chunk.whole is not None:
            yield chunk.whole


@dataclass(frozen=True)
class _Chunk:
    """Rows that are under way, and the logits of their batch if they are its last."""

    lane: _Lane
    ids: np.ndarray
    logits: np.ndarray
    whole: np.ndarray | None


@dataclass(frozen=True)
class _Layout:
    """Where values lie: their offsets times the rows of a chunk, in bytes."""

    offsets: dict[int, int]
    row_bytes: int
    logits: int


def _layout(plan: Plan, inputs: Inputs, calls: list[Call]) -> _Layout:
    parts = (part for call in calls for part in call.arguments)
    known = {part.value for part in parts if isinstance(part, At)}

    def size(number: int) -> int:
        # What is not known to any launch stays on chip.
        return row_bytes(plan.values[number]) if number in known else 0

    offsets, end = places(plan, size)
    for number, width in ((NUMERIC_VALUE, len(inputs.numeric)), (IDS, inputs.ids_width)):
        offsets[number] = end
        end += 4 * width
    return _Layout(offsets, end, plan.logits)


class _Lane:
    """A stream, and the memory of a chunk on both sides.

    Offsets are multiples of 4 and chunks of 64 rows, so that values are aligned as memory is.
    """

    def __init__(
        self,
        device: Device,
        calls: list[Call],
        layout: _Layout,
        chunk: int,
        shape: tuple[int, int, int],
    ) -> None:
        ids, numbers, tasks = shape
        self._stream, self._calls = device.stream(), calls
        size = layout.row_bytes * chunk
        self._memory = device.allocate(size + _FLAG_BYTES)
        base = self._memory.address
        self._addresses = {number: base + at * chunk for number, at in layout.offsets.items()}
        self._addresses[FIRST_BAD] = base + size
        self._logits_at = self._addresses[layout.logits]
        self._ids = device.pinned(4 * chunk * ids).view(np.int32).reshape(chunk, ids)
        self._numeric = device.pinned(4 * chunk * numbers).view(np.float32).reshape(chunk, numbers)
        self._logits = device.pinned(4 * chunk * tasks).view(np.float32).reshape(chunk, tasks)
        self._first_bad = device.pinned(_FLAG_BYTES).view(np.uint64)
        # Launches for as many rows as last time.
        self._rows = 0
        self._launches: list[tuple[Any, ...]] = []

    def start(self, ids: np.ndarray, numeric: np.ndarray) -> None:
        """Begin with at most a chunk of rows; `finish` ends it."""
        rows = len(ids)
        if rows != self._rows:
            bound = (self._bound(call, rows) for call in self._calls)
            self._rows, self._launches = rows, [launch for launch in bound if launch[2]]
        narrow = self._ids[:rows]
        narrow[:] = ids
        if ids.dtype.itemsize > narrow.dtype.itemsize:
            narrow[narrow != ids] = _NO_ID
        self._numeric[:rows] = numeric
        stream, addresses = self._stream, self._addresses
        stream.copy_in(addresses[IDS], narrow)
        stream.copy_in(addresses[NUMERIC_VALUE], self._numeric[:rows])
        stream.fill(addresses[FIRST_BAD], 255, _FLAG_BYTES)
        self.launch()
        stream.copy_out(self._logits[:rows], self._logits_at)
        stream.copy_out(self._first_bad, addresses[FIRST_BAD])

    def launch(self) -> None:
        """Launch the kernels."""
        for launch in self._launches:
            self._stream.launch(*launch)

    def finish(self, logits: np.ndarray) -> bool:
        """Wait, store the logits, and return whether all ids were valid."""
        self.synchronise()
        logits[:] = self._logits[: len(logits)]
        return bool(self._first_bad[0] == _NONE_BAD)

    def synchronise(self) -> None:
        """Wait for what is under way."""
        try:
            self._stream.synchronise()
        except CudaError as error:
            shape = f"{self._rows} rows of {self._ids.shape[1]} ids"
            raise type(error)(f"{shape} and {self._numeric.shape[1]} numbers: {error}") from error

    def abandon(self) -> None:
        """Wait for what is under way, whatever becomes of it."""
        with suppress(CudaError):
            self._stream.synchronise()

    def _bound(self, call: Call, rows: int) -> tuple[Any, ...]:
        """Return what `Stream.launch` takes."""

        def bound(part: Argument) -> cuda.Argument:
            if isinstance(part, At):
                return self._addresses[part.value]
            return np.int64(rows * part.factor) if isinstance(part, Rows) else part

        around = call.source, call.kernel, call.blocks(rows), call.shared
        return *around, *map(bound, call.arguments)
