"""The packed model: 8-bit and 1-bit weights, predicting without torch."""

from __future__ import annotations

from typing import Any

import numpy as np

from spark_ctr.runtime.earlier_formats import EARLIER_VERSIONS, converted
from spark_ctr.runtime.execution import Execution
from spark_ctr.runtime.header import FORMAT_VERSION, READ_VERSIONS, read_program
from spark_ctr.runtime.native import native_execution
from spark_ctr.tables import Inputs


class PackedModel:
    """A click model on packed weights.

    The native kernels compute it where they are there and have all that it needs, else NumPy.

    Parameters
    ----------
    header : dict
        JSON-able, see ``docs/packed_format.md``. One of an earlier format is converted.
    arrays : dict of str to ndarray
        Weights by name. Those of linear layers are prepared here, once, see
        `spark_ctr.kernels.Index8Linear` for what that takes; those of tables stay as they are.

    Attributes
    ----------
    header : dict
        Of one of `READ_VERSIONS`.
    inputs : Inputs
        Columns that the model reads.
    tasks : tuple of str
        What each logit is of.
    layers : dict of str to {"int8", "binary"}
        Precision of the quantised layers.
    program : Program

    Raises
    ------
    ValueError
        If the header is of another version, or anything in it does not fit: see
        `spark_ctr.runtime.header.read_program`.
    """

    def __init__(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        version = header.get("format_version")
        if type(version) is not int or version not in (*EARLIER_VERSIONS, *READ_VERSIONS):
            raise ValueError(
                f"packed model of format {version!r}, this version reads up to {FORMAT_VERSION}; "
                "upgrade spark_ctr"
            )
        try:
            if version in EARLIER_VERSIONS:
                header, arrays = converted(header, arrays)
            program = read_program(header, arrays)
        except ValueError as error:
            raise ValueError(f"packed model is damaged: {error}; save the model again") from None
        self.inputs: Inputs = program.inputs
        self._ids, self._numbers = program.inputs.ids_width, len(program.inputs.numeric)
        # What does not count is dropped.
        self.header = {**header, "inputs": self.inputs.to_dict()}
        self.tasks = tuple(header["tasks"])
        self.layers = program.layers()
        self._arrays, self.program = arrays, program
        self._execution = native_execution(program, len(self.tasks)) or Execution(program)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy prepares kernels of its own, which cannot all be copied.
        return type(self), self.to_arrays()

    @property
    def nbytes(self) -> int:
        """Bytes of all weights as they are saved."""
        return sum(array.nbytes for array in self._arrays.values())

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the JSON-able header and the weights; `from_arrays` reads them back."""
        return self.header, dict(self._arrays)

    @classmethod
    def from_arrays(cls, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> PackedModel:
        """Build from what `to_arrays` returned; see the class for the errors."""
        return cls(header, dict(arrays))

    def predict_logits(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Compute the logits of all tasks.

        Parameters
        ----------
        ids : ndarray [B, S], int
            Ids of the slots of the categorical columns.
        numeric : ndarray [B, M], float
            Values of the numeric columns; cast to float32.

        Returns
        -------
        ndarray [B, T], float32
            Logits. A row's logits are the same in whatever batch it comes, up to float32 rounding.

        Raises
        ------
        ValueError
            If an array has another number of columns.
        IndexError
            If an id lies outside its table.
        """
        ids, numeric = np.asarray(ids), np.asarray(numeric, dtype=np.float32)
        for kind, array, width in (("ids", ids, self._ids), ("numeric", numeric, self._numbers)):
            if array.ndim != 2 or array.shape[1] != width:
                raise ValueError(f"{kind} must have shape [B, {width}], got {list(array.shape)}")
        if len(ids) != len(numeric):
            raise ValueError(f"ids has {len(ids)} rows but numeric {len(numeric)}")
        logits = np.empty((len(ids), len(self.tasks)), dtype=np.float32)
        self._execution(ids, numeric, logits)
        return logits
