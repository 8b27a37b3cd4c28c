"""Where the values of a plan lie: those that nobody reads any more make room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from spark_ctr.runtime.plan import NUMERIC_VALUE, Plan, Sort, operands_of


@dataclass
class Room:
    """Offsets in the memory of a row, in bytes; what was freed is used again by its size.

    Attributes
    ----------
    end : int
        Bytes of a row.
    """

    end: int = 0
    _free: dict[int, list[int]] = field(default_factory=dict)

    def take(self, size: int) -> int:
        """Return the offset of free memory of a size."""
        if self._free.get(size):
            return self._free[size].pop()
        self.end += size
        return self.end - size

    def give_back(self, size: int, offset: int) -> None:
        """Let others use memory."""
        self._free.setdefault(size, []).append(offset)


def places(plan: Plan, size: Callable[[int], int]) -> tuple[dict[int, int], int]:
    """Return the offset of each value that steps write, and the bytes of a row.

    Parameters
    ----------
    plan : Plan
    size : callable
        Bytes of a row of a value, by its number.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for i, step in enumerate(plan.steps):
        for number in (*operands_of(step), step.result):
            if number != NUMERIC_VALUE and plan.values[number].sort != Sort.CONSTANT:
                first.setdefault(number, i)
                last[number] = i
    # Nobody may write over the logits.
    last.pop(plan.logits, None)
    room, offsets = Room(), {}
    for i, step in enumerate(plan.steps):
        if first.get(step.result) == i:
            offsets[step.result] = room.take(size(step.result))
        for number in {*operands_of(step), step.result}:
            if last.get(number) == i:
                room.give_back(size(number), offsets[number])
    return offsets, room.end
