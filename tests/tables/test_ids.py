"""The rule for valid ids is one, whoever asks."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.tables import PADDING, IdRange, Inputs, Table, is_valid_id

EDGES = [0, 1, 2, 3, -1, -2, -3, -4, PADDING, PADDING + 1, 2**31 - 1]
tables = st.builds(
    Table,
    name=st.just("a"),
    rows=st.integers(1, 3),
    dim=st.just(1),
    slots=st.integers(1, 2),
    signed=st.booleans(),
    padded=st.booleans(),
)


def by_hand(i: int, table: Table) -> bool:
    if i == PADDING:
        return table.padded
    return i < table.rows and (i >= 0 or (table.signed and ~i < table.rows))


@given(st.lists(tables, min_size=1, max_size=3), st.data())
def test_one_rule_for_arrays_and_tensors(drawn, data):
    slots = Inputs(
        tuple(t.__class__(**{**vars(t), "name": str(i)}) for i, t in enumerate(drawn)), ()
    )
    slots = slots.slot_tables
    rows = data.draw(st.lists(st.tuples(*[st.sampled_from(EDGES)] * len(slots)), min_size=1))
    expected = np.array([[by_hand(i, t) for i, t in zip(row, slots, strict=True)] for row in rows])
    for kind in (np.int32, np.int64, np.float64):
        assert np.array_equal(IdRange(slots).valid(np.array(rows, kind)), expected)
    lowest, top, padded = (
        torch.tensor([getattr(t, fact) for t in slots]) for fact in ("lowest", "rows", "padded")
    )
    found = is_valid_id(torch.tensor(rows), lowest, top, padded)
    assert np.array_equal(found.numpy(), expected)


def test_the_first_wrong_id_is_named():
    id_range = IdRange((Table("site", 5, 1), Table("ad", 3, 1, signed=True)))
    id_range.check(np.array([[4, -3], [0, 2]]))
    message = r"id -4 of column 'ad' lies outside \[-3, 3\); encode the data with the encoder"
    with pytest.raises(IndexError, match=message):
        id_range.check(np.array([[4, 2], [1, -4]]))
