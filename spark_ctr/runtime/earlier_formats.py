"""Packed models of formats 1 to 3, which named one of five networks, as programs.

Format 1 has one id in [0, rows) for each column and a block of rows for each table. Up to format 2
logits are as the layers give them; in format 3 they go through the layer "logit".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.header import checked_inputs
from spark_ctr.runtime.program import NUMERIC

EARLIER_VERSIONS = (1, 2, 3)
_LOGIT = "logit"

Header = dict[str, Any]
Arrays = dict[str, np.ndarray]


def converted(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> tuple[Header, Arrays]:
    """Return header and arrays of today's format, which give the same logits.

    Raises
    ------
    ValueError
        If the header describes none of the networks, or not by these arrays.
    """
    try:
        return _Converter(header, arrays).convert()
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"its header: {type(error).__name__} {error}") from None


class _Converter:
    """Writes the operations of a network; they are in the order in which they used to be."""

    def __init__(self, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        self._network: str = header["network"]
        self._layers: dict[str, dict[str, Any]] = header["layers"]
        self._arrays = dict(arrays)
        self._inputs = checked_inputs(header["inputs"])
        self._program = ProgramBuilder(self._inputs, self._arrays)
        self._read: set[str] = set()

    def convert(self) -> tuple[Header, Arrays]:
        """Return header and arrays."""
        networks: dict[str, Callable[[], int]] = {
            "lr": self._lr,
            "fm": self._fm,
            "dnn": self._dnn,
            "dcnv2": self._dcnv2,
            "deepfm": self._deepfm,
        }
        if self._network not in networks:
            raise ValueError(f"unknown network {self._network!r}; upgrade spark_ctr")
        logits = networks[self._network]()
        if _LOGIT in self._layers:
            logits = self._mapped(logits)
        header, used = self._program.build(logits, ["click"], self._network)
        superfluous = sorted({*self._layers} - self._read)
        # The vectors of no numeric columns are there, and nobody needs them.
        superfluous += sorted(n for n in {*self._arrays} - {*used} if self._arrays[n].size)
        if superfluous:
            raise ValueError(f"'{self._network}' does not read {superfluous}")
        return header, used

    def _kind(self, name: str) -> str | None:
        if name not in self._layers:
            return None
        self._read.add(name)
        return self._layers[name]["kind"]

    def _mapped(self, logits: int) -> int:
        self._read.add(_LOGIT)
        names = f"{_LOGIT}.scale", f"{_LOGIT}.bias"
        slope, offset = (self._arrays[name] for name in names)
        if slope.shape != (1,) or offset.shape != (1,) or not slope[0] > 0:
            raise ValueError(f"logits go through slope {slope} and offset {offset}")
        return self._program.add("add", self._program.add("multiply", logits, names[0]), names[1])

    def _embedded(self, name: str, dims: list[int]) -> int:
        layer_of = {dim: f"{name}.weights.{g}" for g, dim in enumerate(sorted(set(dims)))}
        for dim, layer in layer_of.items():
            width = self._arrays[f"{layer}.index"].shape[-1]
            if self._kind(layer) != "int8_embedding" or width != dim:
                raise ValueError(f"layer '{layer}' is no table of dimension {dim}")
        layers = [layer_of[dim] for dim in dims]
        return self._program.add("embed", columns=list(range(len(dims))), layers=layers)

    def _columns(self) -> int:
        return self._embedded("embedding", [table.dim for table in self._inputs.tables])

    def _linear(self, name: str, x: int) -> int:
        kind = self._kind(name)
        if kind == "binary_linear":
            return self._program.add("binary_linear", x, layer=name)
        if kind != "int8_linear":
            raise ValueError(f"layer '{name}' is {kind!r}")
        return self._program.add("linear", x, layer=name, bias=self._layers[name]["has_bias"])

    def _mlp(self, x: int) -> int:
        depth = 0
        while f"mlp.layers.hidden_{depth}.linear" in self._layers:
            layer = f"mlp.layers.hidden_{depth}"
            x = self._linear(f"{layer}.linear", x)
            norm = self._kind(f"{layer}.norm")
            if norm == "affine":
                parts = (self._arrays.pop(f"{layer}.norm.{part}") for part in ("scale", "bias"))
                self._program.fold(x, *parts)
            elif norm == "layer_norm":
                epsilon = self._layers[f"{layer}.norm"]["epsilon"]
                x = self._program.add("layer_norm", x, layer=f"{layer}.norm", epsilon=epsilon)
            elif norm is not None:
                raise ValueError(f"layer '{layer}.norm' is {norm!r}")
            x = self._program.add("relu", x)
            depth += 1
        return x

    def _one(self, name: str, x: int) -> int:
        """Return the only output of a layer, [B]."""
        return self._program.reshape(self._linear(name, x))

    def _linear_term(self, name: str) -> int:
        term = self._embedded(name, [1] * len(self._inputs.tables))
        term = self._program.add("sum", term, axis=1)
        if "numeric.linear" in self._layers:
            term = self._program.add("add", term, self._one("numeric.linear", NUMERIC))
        if self._kind("numeric") != "bias":
            raise ValueError("layer 'numeric' is missing")
        return self._program.add("add", term, "numeric.bias")

    def _lr(self) -> int:
        return self._linear_term("embedding")

    def _dnn(self) -> int:
        x = self._program.concat([self._columns(), NUMERIC], 1)
        return self._one("output", self._mlp(x))

    def _dcnv2(self) -> int:
        x0 = self._program.concat([self._columns(), NUMERIC], 1)
        crossed, depth = x0, 0
        while f"cross.layers.{depth}" in self._layers:
            product = self._linear(f"cross.layers.{depth}", crossed)
            product = self._program.add("multiply", x0, product)
            crossed = self._program.add("add", product, crossed)
            depth += 1
        if "mlp.layers.hidden_0.linear" in self._layers:
            crossed = self._program.concat([crossed, self._mlp(x0)], 1)
        return self._one("output", crossed)

    def _deepfm(self) -> int:
        embedded = self._columns()
        deep = self._mlp(self._program.concat([embedded, NUMERIC], 1))
        logits = self._program.add(
            "add", self._linear_term("first_order"), self._pairs(self._fields(embedded))
        )
        return self._program.add("add", logits, self._one("output", deep))

    def _fm(self) -> int:
        if self._kind("numeric_fields") != "vectors":
            raise ValueError("layer 'numeric_fields' is missing")
        fields = self._program.reshape(NUMERIC, len(self._inputs.numeric), 1)
        fields = self._program.add("multiply", fields, "numeric_fields.weight")
        if self._inputs.tables:
            fields = self._program.concat([self._fields(self._columns()), fields], 1)
        return self._program.add("add", self._linear_term("first_order"), self._pairs(fields))

    def _fields(self, embedded: int) -> int:
        """Project every column to the widest dimension k, [B, C, k]."""
        dims = [table.dim for table in self._inputs.tables]
        k = max(dims, default=1)
        if all(dim == k for dim in dims):
            return self._program.reshape(embedded, len(dims), k)
        fields, start = [], 0
        for dim in dims:
            field = self._program.add("slice", embedded, axis=1, start=start, stop=start + dim)
            start += dim
            if dim != k:
                field = self._linear(f"embedding.projections.{dim}", field)
            fields.append(self._program.reshape(field, 1, k))
        return self._program.concat(fields, 1)

    def _pairs(self, fields: int) -> int:
        """Sum the inner products of all pairs of fields [B, F, k], [B]."""
        total = self._program.add("sum", fields, axis=1)
        squares = self._program.add("multiply", fields, fields)
        squares = self._program.add("sum", squares, axis=1)
        total = self._program.add("multiply", total, total)
        pairs = self._program.add("subtract", total, squares)
        pairs = self._program.add("sum", pairs, axis=1)
        half = self._program.constant("half", np.array([0.5], np.float32))
        return self._program.add("multiply", pairs, half)
