"""Functions of torch as operations of a packed program."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from spark_ctr.precision.symbols import ROWS, Ids, Rows, Stacked, Value, Writer, value_of

# By the name of the function, the method or the operator; arguments are torch's.
FUNCTIONS: dict[str, Callable[..., Any]] = {}


def _named(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return keep


@_named("add", "iadd")
def _add(writer: Writer, a: Any, b: Any) -> Value:
    return a if _is_all(writer, a, b, 0) else writer.add("add", a, b)


@_named("sub", "subtract", "isub")
def _subtract(writer: Writer, a: Any, b: Any) -> Value:
    return writer.add("subtract", a, b)


@_named("mul", "multiply", "imul")
def _multiply(writer: Writer, a: Any, b: Any) -> Value:
    return a if _is_all(writer, a, b, 1) else writer.add("multiply", a, b)


@_named("truediv", "div", "divide", "true_divide")
def _divide(writer: Writer, a: Any, b: Any) -> Value:
    if not isinstance(b, Tensor | int | float):
        raise TypeError(f"the divisor {b!r} is no constant")
    return writer.add("multiply", a, 1 / b)


@_named("neg", "negative")
def _negate(writer: Writer, x: Any) -> Value:
    return writer.add("multiply", x, -1)


@_named("square")
def _square(writer: Writer, x: Any) -> Value:
    return writer.add("multiply", x, x)


@_named("pow")
def _power(writer: Writer, x: Any, exponent: Any) -> Value:
    if exponent != 2:
        raise ValueError(f"the power {exponent!r} is not 2")
    return writer.add("multiply", x, x)


@_named("relu")
def _relu(writer: Writer, x: Any, inplace: bool = False) -> Value:
    return writer.add("relu", x)


@_named("sigmoid")
def _sigmoid(writer: Writer, x: Any) -> Value:
    return writer.add("sigmoid", x)


@_named("tanh")
def _tanh(writer: Writer, x: Any) -> Value:
    return writer.add("tanh", x)


@_named("softmax")
def _softmax(writer: Writer, x: Any, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Value:
    _check_dtype(dtype)
    axis = writer.axis(value_of(x), dim)
    last = len(writer.shape(x))
    return _transpose(writer, writer.add("softmax", _transpose(writer, x, axis, last)), axis, last)


@_named("sum")
def _sum(writer: Writer, x: Any, dim: Any, keepdim: bool = False, dtype: Any = None) -> Value:
    _check_dtype(dtype)
    if isinstance(x, Stacked):
        return _sum_of_parts(writer, x, dim)
    shape = list(writer.shape(value_of(x)))
    for axis in sorted((writer.axis(x, d) for d in _listed(dim)), reverse=True):
        x = writer.add("sum", x, axis=axis)
        shape[axis - 1 : axis] = [1] if keepdim else []
    return writer.reshape(x, *shape)


@_named("mean")
def _mean(writer: Writer, x: Any, dim: Any, keepdim: bool = False, dtype: Any = None) -> Value:
    if isinstance(x, Stacked):
        count = len(x.parts)
    else:
        shape = writer.shape(value_of(x))
        count = math.prod(shape[writer.axis(x, d) - 1] for d in _listed(dim))
    return writer.add("multiply", _sum(writer, x, dim, keepdim, dtype), 1 / count)


def _sum_of_parts(writer: Writer, x: Stacked, dim: Any) -> Value:
    if dim != 0:
        raise ValueError("what is stacked before the rows must be summed")
    total = x.parts[0]
    for part in x.parts[1:]:
        total = writer.add("add", total, part)
    return total


@_named("cat", "concat", "concatenate")
def _concat(writer: Writer, tensors: Sequence[Any], dim: int = 0) -> Value:
    numbers = [value_of(x).number for x in tensors]
    return Value(writer.builder.concat(numbers, writer.axis(tensors[0], dim)))


@_named("stack")
def _stack(writer: Writer, tensors: Sequence[Any], dim: int = 0) -> Value | Stacked:
    if dim == 0:
        return Stacked(tuple(map(value_of, tensors)))
    axis = dim % (len(writer.shape(value_of(tensors[0]))) + 2)
    return _concat(writer, [_unsqueeze(writer, x, axis) for x in tensors], axis)


@_named("reshape", "view")
def _reshape(writer: Writer, x: Any, *shape: Any) -> Value:
    wanted = _listed(shape[0]) if len(shape) == 1 else list(shape)
    size = math.prod(writer.shape(value_of(x)))
    rest = wanted[1:]
    # The rows stay first: by their number, or because nothing else can be left for them.
    left = wanted[0] == -1 and -1 not in rest and math.prod(rest) == size
    if not (isinstance(wanted[0], Rows) or left):
        raise ValueError(f"shape {wanted} has not the rows first")
    return writer.reshape(x, *rest)


@_named("flatten")
def _flatten(writer: Writer, x: Any, start_dim: int = 0, end_dim: int = -1) -> Value:
    shape = writer.shape(value_of(x))
    start, end = writer.axis(x, start_dim) - 1, writer.axis(x, end_dim)
    return writer.reshape(x, *shape[:start], math.prod(shape[start:end]), *shape[end:])


@_named("unflatten")
def _unflatten(writer: Writer, x: Any, dim: int, sizes: Sequence[int]) -> Value:
    shape = writer.shape(value_of(x))
    axis = writer.axis(x, dim) - 1
    known = -math.prod(sizes) if -1 in sizes else 1
    parts = [shape[axis] // known if n == -1 else n for n in sizes]
    return writer.reshape(x, *shape[:axis], *parts, *shape[axis + 1 :])


@_named("unsqueeze")
def _unsqueeze(writer: Writer, x: Any, dim: int) -> Value:
    shape = writer.shape(value_of(x))
    axis = dim % (len(shape) + 2) - 1
    if axis < 0:
        raise ValueError("it puts an axis before the rows")
    return writer.reshape(x, *shape[:axis], 1, *shape[axis:])


@_named("squeeze")
def _squeeze(writer: Writer, x: Any, dim: int) -> Value:
    shape = writer.shape(value_of(x))
    axis = writer.axis(x, dim) - 1
    return writer.reshape(
        x, *shape[:axis], *[n for n in shape[axis : axis + 1] if n != 1], *shape[axis + 1 :]
    )


@_named("permute")
def _permute(writer: Writer, x: Any, *dims: Any) -> Value:
    wanted = _listed(dims[0]) if len(dims) == 1 else list(dims)
    axes = [0, *(writer.axis(value_of(x), d) for d in wanted[1:])]
    return x if axes == sorted(axes) else writer.add("transpose", x, axes=axes)


@_named("transpose", "swapaxes")
def _transpose(writer: Writer, x: Any, dim0: int, dim1: int) -> Value:
    axes = list(range(len(writer.shape(value_of(x))) + 1))
    a, b = writer.axis(x, dim0), writer.axis(x, dim1)
    axes[a], axes[b] = b, a
    return _permute(writer, x, axes)


@_named("split")
def _split(writer: Writer, x: Any, sizes: Any, dim: int = 0) -> list[Value]:
    axis = writer.axis(value_of(x), dim)
    width = writer.shape(x)[axis - 1]
    if isinstance(sizes, int):
        sizes = [min(sizes, width - start) for start in range(0, width, sizes)]
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [
        writer.add("slice", x, axis=axis, start=end - size, stop=end)
        for end, size in zip(ends, sizes, strict=True)
    ]


@_named("unbind")
def _unbind(writer: Writer, x: Any, dim: int = 0) -> list[Value]:
    if isinstance(x, Stacked) and dim == 0:
        return list(x.parts)
    axis = writer.axis(value_of(x), dim)
    count = writer.shape(x)[axis - 1]
    return [Value(writer.builder.position(x.number, axis, i)) for i in range(count)]


@_named("getitem")
def _item(writer: Writer, x: Any, index: Any) -> Any:
    if isinstance(x, list | tuple):
        return x[index]
    if isinstance(x, Stacked):
        return x.parts[index]
    indices = list(index) if isinstance(index, list | tuple) else [index]
    if indices[0] is Ellipsis and not isinstance(x, Ids):
        missing = len(writer.shape(value_of(x))) + 2 - len([i for i in indices if i is not None])
        indices[:1] = [slice(None)] * missing
    if indices[0] != slice(None):
        raise ValueError("it takes some of the rows")
    if isinstance(x, Ids):
        (chosen,) = indices[1:]
        chosen = [chosen] if isinstance(chosen, int) else chosen
        return Ids(tuple(_positions(chosen, x.slots)))
    axis = 1
    for one in indices[1:]:
        x, axis = _part(writer, value_of(x), axis, one)
    return x


def _part(writer: Writer, x: Value, axis: int, index: Any) -> tuple[Value, int]:
    """Index one axis; returns the next axis too."""
    if index is None:
        return _unsqueeze(writer, x, axis), axis + 1
    size = writer.shape(x)[axis - 1]
    if isinstance(index, int):
        return Value(writer.builder.position(x.number, axis, range(size)[index])), axis
    positions = _positions(index, range(size))
    if list(positions) == list(range(size)):
        return x, axis + 1
    if isinstance(index, slice) and index.step in (None, 1):
        start, stop, _ = index.indices(size)
        return writer.add("slice", x, axis=axis, start=start, stop=max(start, stop)), axis + 1
    return writer.add("take", x, axis=axis, positions=positions), axis + 1


def _positions(index: Any, of: Sequence[int]) -> list[int]:
    if isinstance(index, slice):
        return list(of[index])
    chosen = index.tolist() if isinstance(index, Tensor) else list(index)
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in chosen):
        raise TypeError(f"an index is {index!r}")
    return [of[i] for i in chosen]


@_named("getattr")
def _attribute(writer: Writer, x: Any, name: str) -> Any:
    if name == "device":
        return torch.device("cpu")
    if isinstance(x, Ids) and name in ("shape", "ndim"):
        return (ROWS, len(x.slots)) if name == "shape" else 2
    shape = (ROWS, *writer.shape(value_of(x)))
    known = {"shape": shape, "ndim": len(shape), "dtype": torch.float32}
    if name not in known:
        raise ValueError(f"'{name}' of a tensor is not known")
    return known[name]


@_named("size")
def _size(writer: Writer, x: Any, dim: int | None = None) -> Any:
    shape = _attribute(writer, x, "shape")
    return shape if dim is None else shape[dim]


@_named("dim")
def _dimensions(writer: Writer, x: Any) -> int:
    return _attribute(writer, x, "ndim")


@_named("matmul", "bmm")
def _matmul(writer: Writer, a: Any, b: Any) -> Value:
    return writer.add("matmul", a, b)


@_named("linear")
def _linear(writer: Writer, x: Any, weight: Tensor, bias: Tensor | None = None) -> Value:
    product = writer.add("matmul", x, weight.T.contiguous())
    return product if bias is None else writer.add("add", product, bias)


@_named("einsum")
def _einsum(writer: Writer, equation: str, *operands: Any) -> Value:
    """Multiply by a matrix for each position of axis 1: "bgi,gio->bgo", by whatever letters."""
    x, weight = operands[0] if len(operands) == 1 else operands
    terms, _, result = equation.replace(" ", "").partition("->")
    left, _, right = terms.partition(",")
    fits = len(left) == len(right) == len(result) == 3 and left[:2] == result[:2]
    wanted = left[1:] + result[2:]
    if not fits or sorted(right) != sorted(wanted) or not isinstance(weight, Tensor):
        raise ValueError(f"einsum '{equation}' is not 'bgi,gio->bgo' with constant matrices")
    groups, inputs = writer.shape(value_of(x))
    matrices = weight.permute([right.index(letter) for letter in wanted])
    product = writer.add("matmul", writer.reshape(x, groups, 1, inputs), matrices)
    return writer.reshape(product, groups, matrices.shape[2])


@_named("scaled_dot_product_attention")
def _attention(writer: Writer, query: Any, key: Any, value: Any) -> Value:
    width = writer.shape(value_of(query))[-1]
    scores = _matmul(writer, query, _transpose(writer, key, -2, -1))
    weights = _softmax(writer, writer.add("multiply", scores, 1 / math.sqrt(width)), -1)
    return _matmul(writer, weights, value)


@_named("expand")
def _expand(writer: Writer, x: Any, *sizes: Any) -> Any:
    wanted = _listed(sizes[0]) if len(sizes) == 1 else list(sizes)
    found = list(_attribute(writer, x, "shape") if isinstance(x, Value) else x.shape)
    missing = [] if isinstance(x, Value) else [1] * (len(wanted) - len(found))
    pairs = zip([*missing, *found], wanted, strict=True)
    # Operations broadcast, so a constant may stay without rows.
    if not all(w in (f, -1) or (isinstance(w, Rows) and f == 1) for f, w in pairs):
        raise ValueError(f"it expands {found} to {wanted}")
    return x


@_named("to", "type_as", "type")
def _to(writer: Writer, x: Any, *kind: Any, **options: Any) -> Any:
    if isinstance(x, Ids):
        return x  # of whatever width
    for one in (*kind, options.get("dtype")):
        _check_dtype(one if isinstance(one, torch.dtype) else None)
    return x


@_named("contiguous", "clone", "detach", "float")
def _same(writer: Writer, x: Any) -> Value:
    return value_of(x)


@_named("long", "int")
def _whole(writer: Writer, x: Any) -> Ids:
    if not isinstance(x, Ids):
        raise TypeError("it rounds")
    return x


@_named("dropout")
def _dropout(
    writer: Writer, x: Any, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Value:
    if training:
        raise ValueError("it drops out in evaluation mode too")
    return value_of(x)


@_named("check_logits")
def _nothing(writer: Writer, *arguments: Any) -> None:
    """Leave out a check."""


def _is_all(writer: Writer, x: Any, constant: Any, number: float) -> bool:
    """Return whether a constant is nothing but a number, and has not more elements than a value."""
    if not isinstance(x, Value) or not isinstance(constant, Tensor | int | float):
        return False
    found = torch.as_tensor(constant)
    fits = tuple(found.shape) in ((), (1,), writer.shape(x))
    return fits and bool((found == number).all())


def _check_dtype(dtype: Any) -> None:
    if dtype not in (None, torch.float32):
        raise ValueError(f"it computes in {dtype}")


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]
