"""Rows of 4 bits: which they are, their values, and networks and packed models that have them."""

import numpy as np
import pytest
import torch
from agreement import assert_same_logits
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.networks import PADDING, Inputs, Table
from spark_ctr.networks.layers.embedding import bags_of
from spark_ctr.precision.index4 import index4_factor, index4_fake_quantise, index4_quantise
from spark_ctr.precision.packing import pack_network
from spark_ctr.precision.qat import prepare, quantisable_layers
from spark_ctr.precision.rare_rows import coarse_count, longest_range, look_up_counts, rare_rows
from spark_ctr.runtime.serialization import packed_from_bytes, packed_to_bytes


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 50, 30, 10, 4, 3, 2, 1], 0.1, [4, 8]),  # the tail has all of the tenth
        ([0, 40, 20, 2, 1, 1, 36], 0.05, [3, 6]),  # frequent buckets behind the tail stay out
        ([5, 5], 0.1, [0, 0]),
        ([0, 0, 9], 0.0, [0, 2]),
        ([5, 1, 5, 1, 5], 0.1, [1, 2]),  # of ranges as long the first
        ([3, 4], 1.0, [0, 2]),
        ([0, 0], 0.1, [0, 2]),
        ([7], 0.5, [0, 0]),
    ],
)
def test_the_longest_range_by_hand(counts, share, expected):
    assert longest_range(np.array(counts), share) == expected


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.sampled_from([0, 0.125, 0.5, 1]))
def test_no_range_of_the_share_is_longer(counts, share):
    first, last = longest_range(np.array(counts), share)
    most = share * sum(counts)
    assert sum(counts[first:last]) <= most
    ends = range(len(counts) + 1)
    fitting = [b - a for a in ends for b in ends if a <= b and sum(counts[a:b]) <= most]
    assert last - first == max(fitting)


def test_look_ups_are_counted_by_row():
    tables = (
        Table("a", 4, 2),
        Table("list", 3, 2, slots=2, padded=True, signed=True),
        Table("x", 3, 2, shared="s"),
        Table("y", 3, 2, shared="s"),
    )
    ids = [[0, 2, PADDING, 1, 1], [3, -1, -3, 0, 1]]
    counts = look_up_counts(Inputs(tables, ()), [torch.tensor(ids[:1]), torch.tensor(ids[1:])])
    found = {name: count.tolist() for name, count in counts.items()}
    # Row 0 of the list by -1, row 2 by 2 and -3.
    assert found == {"a": [1, 0, 0, 1], "list": [1, 0, 2], "x": [1, 3, 0], "y": [1, 3, 0]}


def test_the_factor_has_the_least_error():
    scale = torch.tensor(0.5)
    nibbles, factor = torch.tensor([[0, 15, 3], [7, 8, 0], [15, 12, 9]]), torch.tensor([1, 4, 8])
    values = (2 * nibbles - 15) * factor[:, None] * scale
    found = index4_factor(values, scale)
    assert found.dtype == torch.uint8 and found.tolist() == factor.tolist()
    assert torch.equal(index4_quantise(values, scale, found[:, None]), nibbles.to(torch.uint8))
    # An outlier is clipped where that loses less than coarse steps for all others.
    values = torch.tensor([[1.0, -1.0] * 400 + [60.0]])
    assert index4_factor(values, scale) * 15 * scale < 60
    assert index4_factor(torch.zeros(0, 3), scale).shape == (0,)
    none = torch.zeros(1, 3), torch.tensor(0.0), torch.tensor([[3]])
    assert index4_fake_quantise(*none).tolist() == [[0, 0, 0]]


@given(st.integers(0, 2**32), st.integers(1, 9))
def test_no_other_factor_has_a_smaller_error(seed, dim):
    draw = torch.Generator().manual_seed(seed)
    values, scale = torch.randn(5, dim, generator=draw), torch.tensor(0.03)

    def errors(factor):
        nibbles = index4_quantise(values, scale, factor).double()
        return ((2 * nibbles - 15) * factor * scale.double() - values).square().sum(1)

    best = errors(index4_factor(values, scale)[:, None])
    for factor in range(1, 9):
        assert (best <= errors(torch.full((5, 1), factor)) * (1 + 1e-5) + 1e-9).all()


def test_the_gradient_is_that_of_the_identity():
    weight = torch.tensor([[0.3, -90.0]], requires_grad=True)
    values = index4_fake_quantise(weight, torch.tensor(0.5), torch.tensor(2))
    assert values.tolist() == [[1.0, -15.0]]
    values.backward(torch.tensor([[2.0, 3.0]]))
    assert weight.grad.tolist() == [[2.0, 3.0]]


def coarse(network, batch, share=0.4, **options):
    """Quantise all to 8 bits, and rows that have a share of the look-ups to 4."""
    plan = dict.fromkeys(quantisable_layers(network), "int8")
    ranges = rare_rows(network, [batch.ids], share)
    rows = batch.ids, batch.numeric
    few = prepare(network, plan, rows, coarse=ranges, **options)
    return ranges, few.eval(), prepare(network, plan, rows, **options)


@pytest.mark.parametrize("inputs", ["mixed", "equal", "slots", "double"])
@pytest.mark.parametrize("name", ["dnn", "fm", "dcnv2", "finalmlp", "fibinet"])
@torch.no_grad()
def test_packed_logits_are_those_of_the_network(name, inputs, make_network, make_batch):
    network, batch = make_network(name, inputs), make_batch(inputs, rows=400)
    # A gate's inputs are pooled rows, halfway between two levels often: torch may take the other.
    ranges, made, fine = coarse(network, batch, activations=name != "finalmlp")
    assert coarse_count(ranges) > 10 and ranges.keys() == bags_of(network).keys()
    model, plain = pack_network(made), pack_network(fine)
    logits = model.predict_logits(batch.ids.numpy(), batch.numeric.numpy())
    assert_same_logits(logits, made(batch.ids, batch.numeric).numpy().reshape(logits.shape))
    again = packed_from_bytes(packed_to_bytes(model))
    assert np.array_equal(again.predict_logits(batch.ids.numpy(), batch.numeric.numpy()), logits)
    arrays, before = model.to_arrays()[1], plain.to_arrays()[1]
    saved = sum(a.nbytes for a in before.values()) - sum(a.nbytes for a in arrays.values())
    halves = 0
    for layer, blocks in ranges.items():
        rows, dim = sum(last - first for first, last in blocks), before[f"{layer}.index"].shape[1]
        assert rows == 0 or dim > 3
        halves += rows * (dim // 2 - 1)
    assert saved == halves


@torch.no_grad()
def test_only_rows_of_the_ranges_are_coarse(make_network, make_batch):
    network, batch = make_network("dnn"), make_batch(rows=400)
    ranges, made, fine = coarse(network, batch)
    found = 0
    for layer, bags in bags_of(network).items():
        weights = made.get_submodule(layer), fine.get_submodule(layer)
        start = 0
        for block, (rows, (first, last)) in enumerate(zip(bags.rows, ranges[layer], strict=True)):
            ids = torch.zeros(rows, len(bags.rows), dtype=torch.int64)
            ids[:, block] = torch.arange(rows) + start
            few, all_bits = (weight(ids)[:, block] for weight in weights)
            inside = torch.zeros(rows, dtype=torch.bool)
            inside[first:last] = True
            assert torch.equal(few[~inside], all_bits[~inside])
            if first < last:
                factor = weights[0].factor[start : start + rows][inside, None]
                nibbles = (few[inside] / weights[0].scale[block] / factor + 15) / 2
                assert torch.allclose(nibbles, nibbles.round(), atol=1e-3)
                assert nibbles.min() > -0.001 and nibbles.max() < 15.001
                found += 1
            start += rows
    assert found > 1


def test_fine_tuning_moves_rows_of_4_bits(make_network, make_batch):
    network, batch = make_network("dnn"), make_batch(rows=400)
    _, made, _ = coarse(network, batch)
    made(batch.ids, batch.numeric).sum().backward()
    gradient = made.get_submodule("embedding.weights.2").weight.grad.to_dense()
    assert gradient[batch.ids[:, 0].unique().long()].abs().sum(1).min() > 0
