"""Where the values of a native program lie: those that nobody reads any more make room."""

from __future__ import annotations

from dataclasses import dataclass, field

# What `simd.h` and `memory.h` have: elements behind each row that kernels may write, and a line.
_SLACK, _LINE = 32, 64


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

    @staticmethod
    def size(elements: int, element_bytes: int) -> int:
        """Return the bytes that a row of a value takes."""
        return -(-(elements + _SLACK) * element_bytes // _LINE) * _LINE

    def take(self, size: int) -> int:
        """Return the offset of free memory of a size."""
        if self._free.get(size):
            return self._free[size].pop()
        self.end += size
        return self.end - size

    def give_back(self, size: int, offset: int) -> None:
        """Let others use memory."""
        self._free.setdefault(size, []).append(offset)
