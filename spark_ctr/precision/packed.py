"""The packed model: 8-bit and 1-bit weights, predicting on NumPy alone (no torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spark_ctr.kernels import binary_linear, index8_linear
from spark_ctr.precision.packed_embedding import IdRange, PackedBags, slot_tables
from spark_ctr.precision.packed_layout import check_layout

# Format 1 has one id in [0, rows) for each column and a block of rows for each table.
# Up to format 2 logits are as the layers give them; from 3 on they go through the layer LOGIT.
FORMAT_VERSIONS = (1, 2, 3)
LOGIT = "logit"
# Rows computed at a time: their activations stay in the processor's cache.
_BLOCK = 1024
# Heights of matrix products are multiples of this, so BLAS sums every row in the same order.
_MULTIPLE = 64


class PackedModel:
    """A click model on packed weights.

    Parameters
    ----------
    header : dict
        JSON-able: `format_version`, `network`, `inputs` and, by layer name, `layers`.
    arrays : dict of str to ndarray
        Weights under ``<layer>.<part>``. They are used as they are: a float32 copy of a weight
        exists only inside a kernel. Batch normalisation is folded into the layer before it.

    Raises
    ------
    ValueError
        If the header is of another version, or an array is missing, superfluous or of a wrong
        dtype or shape.
    """

    def __init__(self, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        version = header.get("format_version")
        if version not in FORMAT_VERSIONS:
            raise ValueError(
                f"packed model of format {version!r}, this version reads {FORMAT_VERSIONS}; "
                "upgrade spark_ctr"
            )
        if header.get("network") not in _FORWARDS:
            raise ValueError(
                f"packed model of unknown network {header.get('network')!r}, this version knows "
                f"{sorted(_FORWARDS)}; upgrade spark_ctr"
            )
        check_layout(header["layers"], arrays)
        self.header = header
        self._layers: dict[str, dict[str, Any]] = header["layers"]
        self._arrays = arrays
        self._tables: list[dict[str, Any]] = header["inputs"]["tables"]
        self._dims = [table["dim"] for table in self._tables]
        self._id_range = IdRange(self._tables)
        self._widths = len(slot_tables(self._tables)), len(header["inputs"]["numeric"])
        self._compute = _FORWARDS[header["network"]]
        self._maps: dict[str, tuple[Any, ...]] = {
            name: self._map(name)
            for name, layer in self._layers.items()
            if layer["kind"] != "int8_embedding"
        }
        self._line = self._logit_line()
        scalar = [1] * len(self._dims)
        has_first_order = any(name.startswith("first_order.") for name in self._layers)
        self._dims_of = {
            "embedding": scalar if header["network"] == "lr" else self._dims,
            "first_order": scalar if has_first_order else [],
        }
        self._bags = {name: self._bags_of(name) for name in self._dims_of}
        widest = max((layer.get("outputs", 0) for layer in self._layers.values()), default=0)
        self._zeros = np.zeros(_BLOCK * widest, dtype=np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(array.nbytes for array in self._arrays.values())

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the JSON-able header and the weights; `from_arrays` reads them back."""
        return self.header, dict(self._arrays)

    @classmethod
    def from_arrays(cls, header: dict[str, Any], arrays: dict[str, np.ndarray]) -> PackedModel:
        """Build from what `to_arrays` returned; see the class for the errors."""
        return cls(header, dict(arrays))

    def predict_logits(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Compute the logits of clicks.

        Parameters
        ----------
        ids : ndarray [B, S], int
            Ids of the slots of the categorical columns; cast to int64.
        numeric : ndarray [B, M], float
            Values of the numeric columns; cast to float32.

        Returns
        -------
        ndarray [B, 1], float32
            Logits. A row's logit is the same in whatever batch it comes, up to float32 rounding.

        Raises
        ------
        ValueError
            If an array has another number of columns.
        IndexError
            If an id lies outside its table.
        """
        ids, numeric = np.asarray(ids), np.asarray(numeric, dtype=np.float32)
        for kind, array, width in zip(
            ("ids", "numeric"), (ids, numeric), self._widths, strict=True
        ):
            if array.ndim != 2 or array.shape[1] != width:
                raise ValueError(f"{kind} must have shape [B, {width}], got {list(array.shape)}")
        if len(ids) != len(numeric):
            raise ValueError(f"ids has {len(ids)} rows but numeric {len(numeric)}")
        ids = ids.astype(np.int64)
        self._id_range.check(ids)
        logits = np.empty(len(ids), dtype=np.float32)
        for start in range(0, len(ids), _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = ids[rows], numeric[rows]
            padding = ((0, -len(block[0]) % _MULTIPLE), (0, 0))
            if padding[0][1]:
                block = np.pad(block[0], padding), np.pad(block[1], padding)
            logits[rows] = self._compute(self, *block)[: len(logits[rows])]
        logits = logits if self._line is None else logits * self._line[0] + self._line[1]
        return logits[:, None]

    def _array(self, layer: str, part: str) -> np.ndarray:
        return self._arrays[f"{layer}.{part}"]

    def _logit_line(self) -> tuple[np.float32, np.float32] | None:
        """Return slope and offset of the logits; None where they are as the layers give them."""
        if LOGIT not in self._layers:
            return None
        slope, offset = self._array(LOGIT, "scale")[0], self._array(LOGIT, "bias")[0]
        if not (0 < slope < np.inf and abs(offset) < np.inf):
            raise ValueError(
                f"packed model is damaged: logits go through slope {slope} and offset {offset}, "
                "which must be finite and the slope above 0; save the model again"
            )
        return slope, offset

    def _map(self, layer: str) -> tuple[np.ndarray | None, ...]:
        """Return scale, minimum and bias of a layer, batch normalisation behind it included."""
        scale, minimum, bias = (
            self._arrays.get(f"{layer}.{part}") for part in ("scale", "minimum", "bias")
        )
        norm = layer.removesuffix("linear") + "norm"
        if norm == layer or self._layers.get(norm, {}).get("kind") != "affine":
            return scale, minimum, bias
        factor = self._array(norm, "scale")
        minimum = None if minimum is None else minimum * factor
        return scale * factor, minimum, bias * factor + self._array(norm, "bias")

    def _bags_of(self, name: str) -> list[PackedBags]:
        """Return the look-ups of the `EmbeddingTables` `name`, one per distinct dimension."""
        bags, dims = [], self._dims_of[name]
        for g, dim in enumerate(sorted(set(dims))):
            layer = f"{name}.weights.{g}"
            parts = (self._array(layer, part) for part in ("index", "scale", "minimum"))
            index, scale, minimum = parts
            columns = [c for c, d in enumerate(dims) if d == dim]
            rows = self._layers[layer]["rows"]
            bags.append(PackedBags(self._tables, columns, index, rows, scale, minimum))
        return bags

    def _linear(self, layer: str, x: np.ndarray) -> np.ndarray:
        scale, minimum, bias = self._maps[layer]
        if self._layers[layer]["kind"] == "binary_linear":
            return binary_linear(x, self._array(layer, "signs"), scale, bias)
        return index8_linear(x, self._array(layer, "index"), scale, minimum, bias)

    def _layer_norm(self, layer: str, x: np.ndarray) -> np.ndarray:
        x = x - x.mean(axis=1, keepdims=True)
        variance = np.square(x).mean(axis=1, keepdims=True)
        x /= np.sqrt(variance + np.float32(self._layers[layer]["epsilon"]))
        x *= self._array(layer, "scale")
        x += self._array(layer, "bias")
        return x

    def _columns(self, name: str, ids: np.ndarray) -> np.ndarray:
        """Look up all columns of `EmbeddingTables` `name`, float32 [B, sum of dimensions]."""
        groups = self._bags[name]
        if len(groups) == 1 and groups[0].in_order:
            return groups[0].look_up(ids).reshape(len(ids), -1)
        ends = np.cumsum(self._dims_of[name], dtype=np.int64)
        embedded = np.empty((len(ids), sum(self._dims_of[name])), dtype=np.float32)
        for bags in groups:
            values = bags.look_up(ids)
            dim = values.shape[2]
            for j, column in enumerate(bags.order):
                embedded[:, ends[column] - dim : ends[column]] = values[:, j]
        return embedded

    def _mlp(self, x: np.ndarray) -> np.ndarray:
        depth = 0
        while f"mlp.layers.hidden_{depth}.linear" in self._layers:
            layer = f"mlp.layers.hidden_{depth}"
            x = self._linear(f"{layer}.linear", x)
            if self._layers.get(f"{layer}.norm", {}).get("kind") == "layer_norm":
                x = self._layer_norm(f"{layer}.norm", x)
            # Four times as fast as a maximum with the number 0, which NumPy does not vectorise.
            np.maximum(x, self._zeros[: x.size].reshape(x.shape), out=x)
            depth += 1
        return x

    def _linear_term(self, name: str, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        """Sum one weight per id, one per numeric column and a bias, float32 [B]."""
        term = self._columns(name, ids).sum(axis=1)
        if "numeric.linear" in self._layers:
            term += self._linear("numeric.linear", numeric)[:, 0]
        return term + self._array("numeric", "bias")

    def _dnn(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        x = np.concatenate([self._columns("embedding", ids), numeric], axis=1)
        return self._linear("output", self._mlp(x))[:, 0]

    def _lr(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        return self._linear_term("embedding", ids, numeric)

    def _dcnv2(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        x0 = np.concatenate([self._columns("embedding", ids), numeric], axis=1)
        crossed, depth = x0, 0
        while f"cross.layers.{depth}" in self._layers:
            crossed = x0 * self._linear(f"cross.layers.{depth}", crossed) + crossed
            depth += 1
        if "mlp.layers.hidden_0.linear" in self._layers:
            crossed = np.concatenate([crossed, self._mlp(x0)], axis=1)
        return self._linear("output", crossed)[:, 0]

    def _deepfm(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        embedded = self._columns("embedding", ids)
        deep = self._mlp(np.concatenate([embedded, numeric], axis=1))
        linear = self._linear_term("first_order", ids, numeric)
        return linear + _pairs(self._fields(embedded)) + self._linear("output", deep)[:, 0]

    def _fm(self, ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        fields = numeric[:, :, None] * self._array("numeric_fields", "weight")
        if self._dims:
            embedded = self._fields(self._columns("embedding", ids))
            fields = np.concatenate([embedded, fields], axis=1)
        return self._linear_term("first_order", ids, numeric) + _pairs(fields)

    def _fields(self, embedded: np.ndarray) -> np.ndarray:
        """Project every column to the widest dimension k, float32 [B, C, k]."""
        k = max(self._dims, default=1)
        if all(dim == k for dim in self._dims):
            return embedded.reshape(len(embedded), len(self._dims), k)
        fields, start = [], 0
        for dim in self._dims:
            field = embedded[:, start : start + dim]
            start += dim
            fields.append(
                field if dim == k else self._linear(f"embedding.projections.{dim}", field)
            )
        return np.stack(fields, axis=1)


def _pairs(fields: np.ndarray) -> np.ndarray:
    """Sum the inner products of all pairs of fields [B, F, k], float32 [B]."""
    # Half of (square of the sum - sum of the squares) sums all pairs (Rendle 2010).
    pairs = np.square(fields.sum(axis=1)) - np.square(fields).sum(axis=1)
    return 0.5 * pairs.sum(axis=1)


_FORWARDS: dict[str, Callable[[PackedModel, np.ndarray, np.ndarray], np.ndarray]] = {
    "lr": PackedModel._lr,
    "fm": PackedModel._fm,
    "dnn": PackedModel._dnn,
    "dcnv2": PackedModel._dcnv2,
    "deepfm": PackedModel._deepfm,
}
# Networks that can be packed, the cross layers of dcnv2 if their matrices are full.
PACKABLE = tuple(_FORWARDS)
