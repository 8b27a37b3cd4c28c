"""A training that ends in the middle, as where its process is killed."""

from spark_ctr.training import Progress


class Killed(Exception):
    """Stands in for the end of a process."""


class KillAt(Progress):
    """Stop the run after some batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def advance(self, rows: int, loss: float) -> None:
        self._left -= 1
        if not self._left:
            raise Killed
