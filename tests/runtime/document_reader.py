"""A reader of packed models, written from docs/packed_format.md alone: slow, in plain loops."""

from __future__ import annotations

import json
import math

import numpy as np

DTYPES = {"F32": "<f4", "I8": "i1", "U8": "u1"}
PADDING = -(2**31)
F = np.float32


def read(data):
    """Take the container apart: the program and the arrays."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    program = json.loads(header.pop("__metadata__")["packed"])
    arrays = {}
    for name, facts in header.items():
        begin, end = facts["data_offsets"]
        flat = np.frombuffer(body[begin:end], DTYPES[facts["dtype"]])
        arrays[name] = flat.reshape(facts["shape"])
    return program, arrays


def logits_of(program, arrays, ids, numeric):
    """Return the logits [B, T], each row by itself."""
    return np.array([_row(program, arrays, i, x) for i, x in zip(ids, numeric, strict=True)], F)


def _row(program, arrays, ids, numeric):
    values = [None, np.array(numeric, F)]
    for operation in program["operations"]:
        operands = [arrays[o] if isinstance(o, str) else values[o] for o in operation["of"]]
        values.append(np.asarray(_result(program, arrays, operation, operands, ids), F))
    return values[program["logits"]]


def _result(program, arrays, operation, operands, ids):
    """Compute one operation. Values are without the axis of the rows, so axes are one less."""
    kind, axis = operation["kind"], operation.get("axis", 1) - 1
    x = operands[0] if operands else None
    layer = {
        part: arrays.get(f"{operation.get('layer')}.{part}")
        for part in ("index", "scale", "minimum", "bias", "signs")
    }
    if kind == "embed":
        return _embedded(program, arrays, operation, ids)
    if kind == "linear":
        return _over_last_axis(x, lambda row: _linear(row, layer, operation["bias"]))
    if kind == "binary_linear":
        return _over_last_axis(x, lambda row: _binary(row, layer))
    if kind == "quantise":
        inverse = arrays[f"{operation['layer']}.inverse"]
        levels = np.rint(x * inverse) + F(operation["zero"])
        return np.minimum(np.fmax(levels, F(0)), F(255))
    if kind == "integer_linear":
        return _over_last_axis(x, lambda row: _integer(row, layer, operation["zero"]))
    if kind == "layer_norm":
        return _over_last_axis(x, lambda row: _normed(row, layer, operation["epsilon"]))
    if kind == "softmax":
        return _over_last_axis(x, _softmax)
    if kind == "matmul":
        right = operands[1]
        return (x[None] @ right)[0] if x.ndim == 1 else np.matmul(x.astype(float), right)
    if kind in ("add", "subtract", "multiply"):
        a, b = operands
        return a + b if kind == "add" else a - b if kind == "subtract" else a * b
    if kind == "relu":
        return np.where(x > 0, x, F(0))
    if kind == "sigmoid":
        return np.array([_sigmoid(float(v)) for v in x.flat]).reshape(x.shape)
    if kind == "tanh":
        return np.array([math.tanh(v) for v in x.flat]).reshape(x.shape)
    if kind == "sum":
        return x.astype(float).sum(axis)
    if kind == "concat":
        return np.concatenate(operands, axis)
    if kind == "reshape":
        return x.reshape(operation["shape"])
    if kind == "transpose":
        return x.transpose([a - 1 for a in operation["axes"][1:]])
    if kind == "slice":
        return x.take(range(operation["start"], operation["stop"]), axis)
    assert kind == "take", kind
    return x.take(operation["positions"], axis)


def _value(q, scale, minimum):
    return F(F(q) * scale) + F(minimum + F(F(128) * scale))


def _over_last_axis(x, function):
    rows = [function(row) for row in x.reshape(-1, x.shape[-1])]
    return np.array(rows, F).reshape(*x.shape[:-1], -1)


def _linear(row, layer, has_bias):
    outputs = []
    for n, indices in enumerate(layer["index"]):
        one = n if len(layer["scale"]) > 1 else 0
        scale, minimum = layer["scale"][one], layer["minimum"][one]
        products = [
            float(x) * float(_value(q, scale, minimum)) for x, q in zip(row, indices, strict=True)
        ]
        outputs.append(math.fsum(products) + (float(layer["bias"][n]) if has_bias else 0.0))
    return outputs


def _integer(row, layer, zero):
    outputs = []
    for n, indices in enumerate(layer["index"]):
        total = sum((int(x) - zero) * int(q) for x, q in zip(row, indices, strict=True))
        outputs.append(F(F(total) * layer["scale"][n]) + layer["bias"][n])
    return outputs


def _binary(row, layer):
    outputs = []
    for n, packed in enumerate(layer["signs"]):
        weights = [1 if packed[k // 8] >> (k % 8) & 1 else -1 for k in range(len(row))]
        total = sum(w if x > 0 else -w for x, w in zip(row, weights, strict=True))
        outputs.append(F(F(total) * layer["scale"][n]) + layer["bias"][n])
    return outputs


def _normed(row, layer, epsilon):
    row = row.astype(float) - row.astype(float).mean()
    return row / math.sqrt((row**2).mean() + epsilon) * layer["scale"] + layer["bias"]


def _softmax(row):
    powers = [math.exp(float(x) - float(row.max())) for x in row]
    return [power / sum(powers) for power in powers]


def _sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def _embedded(program, arrays, operation, ids):
    tables, parts = program["inputs"]["tables"], []
    coarse = operation.get("coarse", [[0, 0]] * len(operation["columns"]))
    described = list(zip(operation["columns"], operation["layers"], coarse, strict=True))
    for column, layer, (first_coarse, last_coarse) in described:
        table, before, coarse_before, found = tables[column], 0, 0, []
        # Blocks of the layer, in the order of the columns that use them first.
        for other, name, (begin, end) in described:
            key = tables[other].get("shared") or other
            if name == layer and key not in found:
                if key == (table.get("shared") or column):
                    break
                found.append(key)
                before += tables[other]["rows"] - (end - begin)
                coarse_before += end - begin
        scale, minimum = (arrays[f"{layer}.{p}"][len(found)] for p in ("scale", "minimum"))
        first = sum(t.get("slots", 1) for t in tables[:column])
        chosen = [int(i) for i in ids[first : first + table.get("slots", 1)]]
        total = np.zeros(arrays[f"{layer}.index"].shape[1], F)
        for i in chosen:
            if i != PADDING:
                at, width = i if i >= 0 else -i - 1, len(total)
                if first_coarse <= at < last_coarse:
                    factor, *packed = arrays[f"{layer}.nibbles"][coarse_before + at - first_coarse]
                    nibbles = [*(byte & 15 for byte in packed), *(byte >> 4 for byte in packed)]
                    row = [(2 * int(n) - 15) * int(factor) for n in nibbles[:width]]
                else:
                    at -= last_coarse - first_coarse if at >= last_coarse else 0
                    row = arrays[f"{layer}.index"][before + at]
                vector = np.array([_value(q, scale, minimum) for q in row], F)
                total = total + (vector if i >= 0 else -vector)
        if table.get("pooling", "mean") == "mean" and len(chosen) > 1:
            used = sum(i != PADDING for i in chosen) if table.get("padded") else len(chosen)
            total = total / F(max(used, 1))
        parts.append(total)
    return np.concatenate([*parts, np.zeros(0, F)])
