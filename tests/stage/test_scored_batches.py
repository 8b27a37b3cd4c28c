"""Batches of rows in a worker: packed or element by element, by Arrow or pandas, all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.networks import build_network
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.rows.scored_batches import (
    Scoring,
    arrow_packed_features,
    frame_features,
    pandas_packed_features,
    struct_features,
)
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.runtime.serialization import packed_to_bytes
from spark_ctr.tables import PADDING, Inputs, Table

LOADER = "spark_ctr.runtime.serialization:predictor_from_bytes"
COLUMNS = {
    "mixed": Inputs((Table("site", 6, 4), Table("ad", 5, 2)), ("age", "price")),
    "lists": Inputs((Table("tags", 9, 4, slots=3, padded=True),), ()),
    "signed": Inputs((Table("site", 7, 4, slots=2, signed=True, pooling="sum"),), ("age",)),
    "numbers": Inputs((), ("age",)),
}
_IDS = st.one_of(st.integers(-8, 9), st.sampled_from([None, PADDING, 2**31 - 1]))
_NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([None, 1e300, 0.5, 0.25]))


@st.composite
def logs(draw):
    """Columns, and rows of ids and numbers, about half of them valid."""
    inputs = COLUMNS[draw(st.sampled_from(list(COLUMNS)))]
    tables, count = inputs.slot_tables, len(inputs.numeric)
    good = st.tuples(
        st.tuples(*[st.integers(table.lowest, table.rows - 1) for table in tables]),
        st.lists(st.floats(-9, 9, width=32), min_size=count, max_size=count),
    )
    lists = [st.none() | st.lists(values, max_size=5) for values in (_IDS, _NUMBERS)]
    return inputs, draw(st.lists(st.one_of(good, st.tuples(*lists)), max_size=8))


def packed(row, inputs: Inputs) -> bytes:
    """What ``ctr_pack`` documents."""
    (ids, numbers), width, count = row, inputs.ids_width, len(inputs.numeric)
    lengths = tuple(None if values is None else len(values) for values in row)
    ids, numbers = list(ids or ()), list(numbers or ())
    found = [2**31 - 1 if i is None else i for i in (ids + [None] * width)[:width]]
    with np.errstate(over="ignore"):
        values = np.array(
            [np.nan if n is None else n for n in (numbers + [None] * count)[:count]], "<f4"
        )
    odd = lengths != (width, count)
    return np.array(found, "<i4").tobytes() + values.tobytes() + b"\0" * odd


def elements(rows, inputs: Inputs) -> pa.StructArray:
    """The columns of `feature_elements`."""
    columns = []
    for i, kind, width in ((0, pa.int32(), inputs.ids_width), (1, pa.float32(), None)):
        for j in range(len(inputs.numeric) if width is None else width):
            values = [row[i][j] if row[i] is not None and j < len(row[i]) else None for row in rows]
            columns.append(pa.array(values, kind))
    for i in (0, 1):
        lengths = [-1 if row[i] is None else len(row[i]) for row in rows]
        columns.append(pa.array(lengths, pa.int32()))
    return pa.StructArray.from_arrays(columns, [f"f{i}" for i in range(len(columns))])


def same(found, wanted) -> None:
    """Two results of the functions under test are equal, in type too."""
    for one, other, kind in zip(found, wanted, (np.int32, np.float32, bool), strict=True):
        assert one.dtype == other.dtype == kind
        np.testing.assert_array_equal(one, other)


@given(logs())
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_all_ways_across_give_the_same_features(log):
    inputs, rows = log
    batch = elements(rows, inputs)
    frame = pd.DataFrame({field.name: batch.field(field.name).to_pandas() for field in batch.type})
    wanted = frame_features(frame, inputs)
    same(struct_features(batch, inputs), wanted)
    values = [packed(row, inputs) for row in rows]
    same(pandas_packed_features(pd.Series(values, dtype=object), inputs), wanted)
    for kind in (pa.binary(), pa.large_binary()):
        same(arrow_packed_features(pa.array(values, kind), inputs), wanted)
        longer = pa.array([b"xyz", *values, b"z"], kind)
        same(arrow_packed_features(longer.slice(1, len(rows)), inputs), wanted)


def test_valid_rows_are_read_where_they_lie():
    inputs = COLUMNS["mixed"]
    batch = pa.array([packed(([1, 2], [0.5, 2.0]), inputs)] * 3)
    ids, numeric, bad = arrow_packed_features(batch, inputs)
    start = batch.buffers()[2].address
    assert ids.__array_interface__["data"][0] == start
    assert numeric.__array_interface__["data"][0] == start + 8
    assert not bad.any()


def scoring(inputs: Inputs, policy: str, by_bytes: bool, tasks: int = 1) -> Scoring:
    """Scoring by a quantised network of random weights."""
    network = build_network("dnn", inputs, {"hidden_layers": [4]}, seed=1)
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    payload = packed_to_bytes(pack_network(prepare(network, plan)))
    return Scoring(inputs, tasks, policy, by_bytes, LOADER, Payload(payload))


ROWS = [([1, 2], [0.5, 1.0]), ([9, 2], [0.5, 1.0]), ([1, 2, 3], [0.5, 1.0]), (None, None)]


@pytest.mark.parametrize("policy", ["error", "skip", "keep"])
def test_all_ways_across_give_the_same_logits(policy):
    inputs = COLUMNS["mixed"]
    for rows in (ROWS[:1], ROWS[:0], ROWS):
        whole = elements(rows, inputs)
        values = [packed(row, inputs) for row in rows]
        frame = pd.DataFrame({f.name: whole.field(f.name).to_pandas() for f in whole.type})
        ways = [
            lambda whole=whole: scoring(inputs, policy, False).arrow([whole]),
            lambda values=values: scoring(inputs, policy, True).arrow([pa.array(values, "binary")]),
            lambda frame=frame: scoring(inputs, policy, False).pandas([frame]),
            lambda values=values: scoring(inputs, policy, True).pandas(
                [pd.Series(values, dtype=object)]
            ),
        ]
        if policy == "error" and len(rows) > 1:
            for way in ways:
                with pytest.raises(ValueError, match="^3 of 4 rows in a batch .*'skip' or 'keep'"):
                    list(way())
            continue
        found = [np.array(next(iter(way())).to_numpy()) for way in ways]
        assert all(f.dtype == np.float64 and f.shape == (len(rows),) for f in found)
        for other in found[1:]:
            np.testing.assert_array_equal(found[0].view(np.int64), other.view(np.int64))
        assert np.isnan(found[0]).sum() == (max(len(rows) - 1, 0) if policy == "skip" else 0)


def test_several_tasks_are_lists(monkeypatch):
    inputs = COLUMNS["mixed"]
    two = scoring(inputs, "skip", True, tasks=2)
    monkeypatch.setattr(
        "spark_ctr.rows.scored_batches.predictor",
        lambda *_: lambda ids, numeric: np.stack([ids[:, 0], ids[:, 1]], 1).astype(np.float32),
    )
    values = [packed(row, inputs) for row in ROWS[:2]]
    by_arrow = next(iter(two.arrow([pa.array(values, "binary")])))
    assert by_arrow.type == pa.list_(pa.float64())
    assert by_arrow[0].as_py() == [1.0, 2.0] and np.isnan(by_arrow[1].as_py()).all()
    by_pandas = next(iter(two.pandas([pd.Series(values, dtype=object)])))
    np.testing.assert_array_equal(np.stack(by_pandas), [[1.0, 2.0], [np.nan, np.nan]])
    assert next(iter(two.arrow([pa.array([], "binary")]))).type == by_arrow.type


def test_networks_of_one_payload_and_two_loaders_are_two(monkeypatch):
    from spark_ctr.rows import scored_batches

    monkeypatch.setattr(scored_batches, "_predictors", type(scored_batches._predictors)())
    payload = Payload(b"x")
    assert scored_batches.predictor("builtins:bytes", payload) == b"x"
    assert scored_batches.predictor("builtins:bytearray", payload) == bytearray(b"x")


def test_scoring_by_arrow_imports_neither_torch_nor_pandas_nor_spark(tmp_path):
    inputs = COLUMNS["mixed"]
    one = scoring(inputs, "error", True)
    (tmp_path / "payload").write_bytes(one.payload.read())
    (tmp_path / "row").write_bytes(packed(ROWS[0], inputs))
    program = f"""
import sys
from pathlib import Path
import pyarrow as pa
from spark_ctr.rows.scored_batches import Scoring
from spark_ctr.rows.shared_payload import Payload
from spark_ctr.tables import Inputs
folder = Path({str(tmp_path)!r})
payload = Payload((folder / "payload").read_bytes(), shared=True)
one = Scoring(Inputs.from_dict({inputs.to_dict()!r}), 1, "error", True, {LOADER!r}, payload)
row = (folder / "row").read_bytes()
buffers = [None, pa.py_buffer(b"\\0" * 4 + len(row).to_bytes(4, "little")), pa.py_buffer(row)]
# pyarrow.array imports pandas
(found,) = one.arrow([pa.Array.from_buffers(pa.binary(), 1, buffers)])
assert len(found) == 1
print(sorted({{"torch", "pandas", "pyspark"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
