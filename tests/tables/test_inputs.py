"""Columns of a network with narrower rows."""

from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.tables import Inputs, Table


@given(st.lists(st.integers(1, 9), max_size=4), st.integers(1, 9))
def test_rows_are_no_wider_than_asked_for_and_ids_stay(dims, dim):
    shared = [Table(name, 7, 6, shared="tail") for name in ("s", "t")]
    tables = [Table(f"c{i}", 5 + i, d, slots=2, private=3) for i, d in enumerate(dims)]
    inputs = Inputs((*tables, *shared), ("age",))
    found = inputs.at_most(dim)
    assert [t.dim for t in found.tables] == [min(d, dim) for d in [*dims, 6, 6]]
    assert found.same_ids(inputs) and found.numeric == inputs.numeric
    assert [t.private for t in found.tables] == [t.private for t in inputs.tables]
