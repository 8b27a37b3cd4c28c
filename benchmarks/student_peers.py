"""The network of `benchmarks.student_programs` by torch and by ONNX Runtime."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.student_programs import Weights

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]


def torch_scorer(weights: Weights, table: torch.Tensor, kind: torch.dtype) -> Scorer:
    """Return the network in a floating-point type; ids are rows of the stacked table."""
    table = table.to(kind)
    layers = [tuple(torch.from_numpy(part).to(kind) for part in one) for one in weights.layers]
    wide = weights.shape.columns * weights.shape.dim

    def score(ids: np.ndarray, numeric: np.ndarray) -> np.ndarray:
        found = torch.from_numpy(ids).flatten()
        embedded = torch.index_select(table, 0, found).view(len(ids), wide)
        x = torch.cat([embedded, torch.from_numpy(numeric).to(kind)], 1)
        for i, (weight, bias) in enumerate(layers):
            x = torch.nn.functional.linear(x, weight, bias)
            if i < len(layers) - 1:
                x = torch.relu_(x)
        return x.float().numpy()

    return score


def onnx_scorers(weights: Weights) -> Iterator[tuple[str, Scorer]]:
    """Yield the network by ONNX Runtime in 8 bits, statically and dynamically quantised.

    Nothing where it cannot be imported.
    """
    try:
        import onnx
        import onnxruntime
        from onnxruntime import quantization
    except ImportError as error:
        print(f"without ONNX Runtime: {error}")
        return
    logging.getLogger().setLevel(logging.ERROR)  # its advice on every model
    draw = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(_model(weights, onnx), str(plain))
        for kind in ("static", "dynamic"):
            made = Path(folder) / f"{kind}.onnx"
            if kind == "static":
                quantization.quantize_static(
                    plain,
                    made,
                    _Calibration([weights.shape.batch(256, draw) for _ in range(4)]),
                    quant_format=quantization.QuantFormat.QDQ,
                    activation_type=quantization.QuantType.QUInt8,
                    weight_type=quantization.QuantType.QInt8,
                    per_channel=True,
                    op_types_to_quantize=["Gemm", "MatMul", "Add", "Relu", "Gather", "Concat"],
                )
            else:
                quantization.quantize_dynamic(
                    plain,
                    made,
                    weight_type=quantization.QuantType.QInt8,
                    per_channel=True,
                    op_types_to_quantize=["MatMul"],
                )
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.log_severity_level = 3
            session = onnxruntime.InferenceSession(
                str(made), options, providers=["CPUExecutionProvider"]
            )
            yield (
                f"ONNX Runtime int8, {kind}",
                lambda ids, numeric, run=session.run: run(None, {"ids": ids, "numeric": numeric}),
            )


class _Calibration:
    """Batches by which ONNX Runtime finds the ranges of activations."""

    def __init__(self, batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self._left = [{"ids": ids, "numeric": numeric} for ids, numeric in batches]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self._left.pop() if self._left else None


def _model(weights: Weights, onnx) -> object:  # type: ignore[no-untyped-def]
    """Return the float32 model; its quantisation makes the table 8 bits where it can."""
    helper, kinds, shape = onnx.helper, onnx.TensorProto, weights.shape
    arrays = {"table": weights.float_table}
    arrays["wide"] = np.array([-1, shape.columns * shape.dim], np.int64)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], axis=0),
        helper.make_node("Reshape", ["rows", "wide"], ["embedded"]),
        helper.make_node("Concat", ["embedded", "numeric"], ["x0"], axis=1),
    ]
    for i, (weight, bias) in enumerate(weights.layers):
        arrays[f"w{i}"], arrays[f"b{i}"] = np.ascontiguousarray(weight.T), bias
        last = i == len(weights.layers) - 1
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"m{i}"]))
        added = "logits" if last else f"a{i}"
        nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [added]))
        if not last:
            nodes.append(helper.make_node("Relu", [added], [f"x{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "student",
        [
            helper.make_tensor_value_info("ids", kinds.INT32, [None, shape.columns]),
            helper.make_tensor_value_info("numeric", kinds.FLOAT, [None, shape.numbers]),
        ],
        [helper.make_tensor_value_info("logits", kinds.FLOAT, [None, 1])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model
