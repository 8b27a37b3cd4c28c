"""Running programs: what is overwritten, freed and shared."""

import numpy as np
import pytest

from spark_ctr.runtime import execution
from spark_ctr.runtime.builder import ProgramBuilder
from spark_ctr.runtime.packed_model import PackedModel
from spark_ctr.runtime.program import NUMERIC
from spark_ctr.tables import Inputs

INPUTS = Inputs((), tuple("abcd"))
X = np.random.default_rng(0).standard_normal((1500, 4)).astype(np.float32)
NO_IDS = np.zeros((1500, 0), np.int32)


def run(make, x=X):
    """Build a program whose logit is the sum of a value [B, k], and run it."""
    builder = ProgramBuilder(INPUTS, {})
    logits = builder.add("sum", make(builder), axis=1)
    model = PackedModel.from_arrays(*builder.build(logits, ["click"], "none"))
    return model.predict_logits(NO_IDS[: len(x)], x)[:, 0]


def test_numbers_of_the_caller_are_never_overwritten():
    before = X.copy()
    logits = run(lambda b: b.reshape(b.add("relu", b.reshape(NUMERIC, 2, 2)), 4))
    np.testing.assert_allclose(logits, np.maximum(before, 0).sum(1), rtol=1e-5)
    np.testing.assert_array_equal(X, before)


def test_a_value_that_is_read_later_is_not_overwritten():
    def make(b):
        y = b.add("tanh", NUMERIC)
        z = b.add("relu", y)
        return b.add("subtract", b.add("multiply", y, y), z)

    y = np.tanh(X)
    np.testing.assert_allclose(run(make), (y * y - np.maximum(y, 0)).sum(1), rtol=1e-4, atol=1e-6)


def test_a_value_that_is_read_through_a_view_is_not_overwritten():
    def make(b):
        y = b.add("tanh", NUMERIC)
        view = b.add("slice", y, axis=1, start=1, stop=3)
        z = b.add("relu", y)  # the last to read y itself
        return b.concat([view, z], 1)

    y = np.tanh(X)
    expected = y[:, 1:3].sum(1) + np.maximum(y, 0).sum(1)
    np.testing.assert_allclose(run(make), expected, rtol=1e-4, atol=1e-5)


def test_an_operand_may_be_a_view_of_what_is_overwritten():
    def make(b):
        y = b.reshape(b.add("tanh", NUMERIC), 2, 2)
        flipped = b.add("transpose", y, axes=[0, 2, 1])
        return b.reshape(b.add("subtract", y, flipped), 4)

    y = np.tanh(X).reshape(-1, 2, 2)
    expected = (y - y.transpose(0, 2, 1)).reshape(-1, 4)

    def first(b):
        return b.add("slice", make(b), axis=1, start=1, stop=2)

    np.testing.assert_allclose(run(first), expected[:, 1], rtol=1e-4, atol=1e-6)


def test_blocks_are_lower_for_wide_values(monkeypatch):
    wanted = run(lambda b: b.add("tanh", NUMERIC))
    monkeypatch.setattr(execution, "_MOST", 4 * 100)
    np.testing.assert_array_equal(run(lambda b: b.add("tanh", NUMERIC)), wanted)


def test_sigmoid_and_softmax_do_not_overflow():
    x = np.array([[-1e4, 1e4, 0, 1], [-3e38, 3e38, -3e38, 3e38]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        sigmoid = run(lambda b: b.add("sigmoid", NUMERIC), x)
        softmax = run(lambda b: b.add("softmax", b.add("multiply", NUMERIC, half(b))), x)
    assert sigmoid == pytest.approx([1.5 + 1 / (1 + np.exp(-1)), 2.0], rel=1e-6)
    assert softmax == pytest.approx([1.0, 1.0])


def half(builder):
    """Name a constant of a half."""
    return builder.constant("half", np.array([0.5], np.float32))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_matrix_for_each_group_is_a_product_of_many_rows(groups):
    matrices = np.random.default_rng(1).standard_normal((groups, 4 // groups, 3)).astype("f")

    def make(b):
        x = b.reshape(NUMERIC, groups, 1, 4 // groups)
        return b.reshape(b.add("matmul", x, b.constant("m", matrices)), groups * 3)

    expected = np.einsum("bgi,gio->bgo", X.reshape(-1, groups, 4 // groups), matrices)
    np.testing.assert_allclose(run(make), expected.sum((1, 2)), rtol=1e-4, atol=1e-5)
