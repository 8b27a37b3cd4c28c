"""The kinds of operations by the names that programs use."""

from __future__ import annotations

from spark_ctr.runtime import arithmetic, embed, layers, levels
from spark_ctr.runtime.operation import Operation

KINDS: dict[str, type[Operation]] = {
    "embed": embed.Embed,
    "linear": layers.Linear,
    "binary_linear": layers.Binary,
    "quantise": levels.Quantise,
    "integer_linear": levels.IntegerLinear,
    "layer_norm": layers.LayerNorm,
    "add": arithmetic.Add,
    "subtract": arithmetic.Subtract,
    "multiply": arithmetic.Multiply,
    "relu": arithmetic.Relu,
    "sigmoid": arithmetic.Sigmoid,
    "tanh": arithmetic.Tanh,
    "softmax": arithmetic.Softmax,
    "sum": arithmetic.Sum,
    "matmul": arithmetic.MatMul,
    "concat": arithmetic.Concat,
    "reshape": arithmetic.Reshape,
    "transpose": arithmetic.Transpose,
    "slice": arithmetic.Slice,
    "take": arithmetic.Take,
}
