"""Forged programs: refused by a ValueError that says what is wrong, or computed without a fault."""

import copy
import json
import random

import numpy as np
import pytest
from packed_models import EARLIER, draw_rows, quantised, saved_bytes
from safetensors.numpy import load

from spark_ctr.precision.packing import pack_network
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.safetensors_header import read_description

ODD = [None, float("nan"), 10**400, -1, 0, 1, 2, 5, 2**31, True, 0.5, "x", "numeric", [], {}, [[1]]]


@pytest.fixture(scope="module")
def models():
    """Header and arrays of programs of many operations, and of models of earlier formats."""
    networks = {
        "dnn": {"hidden_layers": [9, 7, 5], "layer_norm": True, "members": 2, "activations": False},
        "deepfm": {"hidden_layers": [9, 8]},
        "dcnv2": {"hidden_layers": [9, 8], "cross_rank": 2, "batch_norm": True},
        "autoint": {
            "activations": False,
            "hidden_layers": [6, 5],
            "attention_layers": 1,
            "attention_dim": 4,
        },
        "fibinet": {"hidden_layers": [6, 5]},
        "lr": {"coarse": True},
        "finalmlp": {"coarse": True, "hidden_layers": [6], "second_layers": [7]},
    }
    made = {
        name: pack_network(quantised(name, **config)).to_arrays()
        for name, config in networks.items()
    }
    for name in EARLIER:
        data = saved_bytes(name)
        made[name] = read_description(data, "packed"), load(data)
    return made


def changed(value, draw):
    """Change, drop or double one thing somewhere in JSON."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = draw.choice(keys)
        inner = value[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.85:
            value = inner
        elif draw.random() < 0.15:
            del value[key]
            return
        elif isinstance(value, list) and draw.random() < 0.2:
            value.insert(key, copy.deepcopy(inner))
            return
        elif type(inner) is int and draw.random() < 0.5:
            value[key] = inner + draw.choice([-1, 1])
            return
        else:
            value[key] = draw.choice(ODD)
            return


def changed_arrays(arrays, draw):
    """Change one of the arrays."""
    arrays, name = dict(arrays), draw.choice(sorted(arrays))
    kind, array = (
        draw.choice(["drop", "more", "type", "long", "short", "flat", "nan"]),
        arrays[name],
    )
    if kind == "drop":
        del arrays[name]
    elif kind == "more":
        arrays["more"] = array
    elif kind == "type":
        arrays[name] = array.astype(draw.choice([np.int8, np.uint8, np.float32, np.float64]))
    elif kind == "long":
        arrays[name] = np.concatenate([array, array[:1]])
    elif kind == "short":
        arrays[name] = array[..., :-1]
    elif kind == "flat":
        arrays[name] = array.reshape(-1)
    elif array.dtype == np.float32 and array.size:
        arrays[name] = array.copy()
        arrays[name].flat[draw.randrange(array.size)] = draw.choice([np.nan, np.inf])
    return arrays


@pytest.mark.parametrize("seed", range(4))
def test_forged_programs_are_refused_or_compute(models, seed):
    draw, refused = random.Random(seed), 0
    for _ in range(250):
        header, arrays = models[draw.choice(sorted(models))]
        header = copy.deepcopy(header)
        for _ in range(draw.choice([1, 1, 2])):
            if draw.random() < 0.8:
                changed(header, draw)
            else:
                arrays = changed_arrays(arrays, draw)
        try:
            model = PackedModel.from_arrays(header, arrays)
        except ValueError:
            refused += 1
            continue
        rows = draw_rows(model.inputs, 3)
        with np.errstate(over="ignore", invalid="ignore"):
            assert model.predict_logits(*rows).shape == (3, len(model.tasks))
    assert refused > 150


def test_what_is_wrong_is_said(models):
    header, arrays = models["dnn"]
    at = {one["kind"]: i for i, one in enumerate(header["operations"])}

    def forged(found, /, **changes):
        operations = copy.deepcopy(header["operations"])
        operations[at[found]].update(changes)
        return {**header, "operations": operations}

    last = len(header["operations"]) + 1
    signs = next(name for name in arrays if name.endswith(".signs"))
    padded = arrays[signs].copy()
    padded[0, -1] |= 0x80  # of the last of fewer than 8 inputs
    broken = [
        ({**header, "format_version": 7}, arrays, "of format 7, .* upgrade spark_ctr"),
        ({**header, "format_version": True}, arrays, "of format True"),
        ({**header, "more": 1}, arrays, "its header has"),
        ({**header, "network": 3}, arrays, "its network is 3"),
        ({**header, "tasks": ["click", "click"]}, arrays, "its tasks are"),
        ({**header, "tasks": ["click", "buy"]}, arrays, r"its logits are \[B, 1\] for 2 tasks"),
        ({**header, "logits": last - 1}, arrays, "its logits are value"),
        ({**header, "operations": header["operations"][:-1]}, arrays, "its logits are value"),
        ({**header, "operations": header["operations"][1:]}, arrays, "operation 2 is"),
        (forged("relu", kind="gelu"), arrays, "'gelu'.*unknown kind; upgrade"),
        (forged("relu", of=[last]), arrays, "an operand is"),
        (forged("relu", of=[0]), arrays, "an operand is 0"),
        (forged("relu", of=["nothing"]), arrays, "array 'nothing' is missing"),
        (forged("relu", of=[]), arrays, "it has 0 operands, expected 1"),
        (forged("relu", axis=1), arrays, r"it has \['axis'\], expected \[\]"),
        (forged("concat", axis=0), arrays, "axis is 0"),
        (forged("embed", columns=[0, 99]), arrays, "columns is 99"),
        (forged("linear", layer="output"), arrays, r"array 'output.index' is missing"),
        (forged("layer_norm", epsilon=0.0), arrays, "epsilon is 0.0"),
        (header, {k: v for k, v in arrays.items() if k != signs}, "signs' is missing"),
        (header, {**arrays, "more": arrays[signs]}, r"arrays \['more'\] are superfluous"),
        (header, {**arrays, signs: arrays[signs].astype(np.int8)}, r"is int8 \[.*expected uint8"),
        (header, {**arrays, signs: padded}, "signs of inputs it has not"),
    ]
    for bad_header, bad_arrays, message in broken:
        with pytest.raises(ValueError, match=message):
            PackedModel.from_arrays(bad_header, bad_arrays)


def test_what_is_wrong_with_levels_is_said(models):
    header, arrays = models["deepfm"]
    at = {one["kind"]: i for i, one in enumerate(header["operations"])}

    def forged(found, /, **changes):
        operations = copy.deepcopy(header["operations"])
        operations[at[found]].update(changes)
        return {**header, "operations": operations}

    quantised = header["operations"][at["quantise"]]
    layer, levels = quantised["layer"], quantised["result"]
    inverse = arrays[f"{layer}.inverse"]
    broken = [
        (forged("quantise", zero=256), arrays, "zero is 256"),
        (forged("integer_linear", zero=-1), arrays, "zero is -1"),
        (forged("integer_linear", of=[1]), arrays, "operand 1 is float32, not levels"),
        (
            forged("integer_linear", kind="binary_linear", of=[levels]),
            arrays,
            "has|levels, not float32",
        ),
        (header, {**arrays, f"{layer}.inverse": -inverse}, "no step above 0"),
        (header, {**arrays, f"{layer}.inverse": inverse[:2]}, "no step above 0"),
    ]
    for bad_header, bad_arrays, message in broken:
        with pytest.raises(ValueError, match=message):
            PackedModel.from_arrays(bad_header, bad_arrays)


def test_what_is_wrong_with_rows_of_4_bits_is_said(models):
    header, arrays = models["lr"]
    (at,) = [i for i, one in enumerate(header["operations"]) if one["kind"] == "embed"]
    embed = header["operations"][at]
    coarse, shared = embed["coarse"], [6, 7]
    assert coarse[6] == coarse[7] and coarse[0][0] < coarse[0][1]

    def forged(position, value):
        changed = [*coarse[:position], value, *coarse[position + 1 :]]
        operations = copy.deepcopy(header["operations"])
        operations[at]["coarse"] = changed
        return {**header, "operations": operations}

    name = next(name for name in arrays if name.endswith(".nibbles"))
    odd = arrays[name].copy()
    odd[-1, -1] |= 0x10  # lr has one number a row
    large, none = arrays[name].copy(), arrays[name].copy()
    large[1, 0], none[1, 0] = 9, 0
    first, last = coarse[0]
    broken = [
        (header, {**arrays, name: large}, r"factors of .* are not in \[1, 8"),
        (header, {**arrays, name: none}, "factors of"),
        (forged(0, [last + 1, last]), arrays, "first coarse row is"),
        (forged(0, [first, 51]), arrays, "last coarse row is 51"),
        (forged(0, [first, last, 1]), arrays, "coarse rows of column 0 are"),
        (forged(0, [first, last - 1]), arrays, "array '.*index' is .*expected"),
        (forged(shared[1], [0, 0]), arrays, "share rows, and not which are coarse"),
        (header, {**arrays, name: odd}, "nibbles of numbers it has not"),
        (header, {**arrays, name: arrays[name][:-1]}, "array '.*nibbles' is .*expected"),
        (header, {k: v for k, v in arrays.items() if k != name}, "nibbles' is missing"),
    ]
    for bad_header, bad_arrays, message in broken:
        with pytest.raises(ValueError, match=message):
            PackedModel.from_arrays(bad_header, bad_arrays)
    operations = copy.deepcopy(header["operations"])
    operations[at]["coarse"] = coarse[:-1]
    with pytest.raises(ValueError, match="coarse is"):
        PackedModel.from_arrays({**header, "operations": operations}, arrays)


def test_results_that_nobody_reads_are_refused(models):
    header, arrays = models["autoint"]
    operations = copy.deepcopy(header["operations"])
    number = len(operations) + 2
    operations.append({"result": number, "kind": "relu", "of": [number - 2]})
    operations.append({"result": number + 1, "kind": "relu", "of": [number - 1]})
    forged = {**header, "operations": operations, "logits": number + 1}
    with pytest.raises(ValueError, match=rf"results \[{number}\] are not used"):
        PackedModel.from_arrays(forged, arrays)


def test_nothing_large_is_computed(models):
    """A few bytes of positions must not become a value of billions of elements."""
    header, _ = models["fibinet"]
    operations = [
        {"result": 2, "kind": "reshape", "of": [1], "shape": [2, 1]},
        {"result": 3, "kind": "take", "of": [2], "axis": 1, "positions": [0] * 3000},
        {"result": 4, "kind": "reshape", "of": [3], "shape": [1, 3000]},
        {"result": 5, "kind": "multiply", "of": [3, 4]},
        {"result": 6, "kind": "sum", "of": [5], "axis": 2},
        {"result": 7, "kind": "sum", "of": [6], "axis": 1},
        {"result": 8, "kind": "reshape", "of": [7], "shape": [1]},
    ]
    forged = {**header, "operations": operations, "logits": 8}
    with pytest.raises(ValueError, match=r"operation 5 .*\[B, 3000, 3000\] is too large"):
        PackedModel.from_arrays(forged, {})


@pytest.mark.parametrize("line", [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.inf)])
def test_a_slope_or_offset_of_format_3_that_makes_no_sense_is_refused(line):
    data = saved_bytes("format 3")
    header, arrays = read_description(data, "packed"), load(data)
    arrays["logit.scale"], arrays["logit.bias"] = (np.array([x], np.float32) for x in line)
    with pytest.raises(ValueError, match="slope|not finite"):
        PackedModel.from_arrays(header, arrays)


def test_headers_are_json_still(models):
    header, arrays = models["dnn"]
    again = PackedModel.from_arrays(json.loads(json.dumps(header)), arrays)
    assert again.header == header
