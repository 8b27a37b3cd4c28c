"""Networks that start from an earlier one predict what it predicted, for values old and new."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from spark_ctr.networks import PADDING, Inputs, Table, build_network
from spark_ctr.networks.growth import grown_state
from spark_ctr.networks.registry import NETWORKS

# Private rows by column, earlier and now; hashed rows stay.
EARLIER = {"site": 3, "ad": 4, "words": 2, "sign": 2, "user": 1, "item": 3, "same": 5}
NOW = {"site": 6, "ad": 4, "words": 3, "sign": 5, "user": 4, "item": 5, "same": 5}
BUCKETS = {"site": 1, "ad": 3, "words": 1, "sign": 3, "user": 1, "item": 1, "same": 4}
SHARED = ("user", "item")
ROWS = 64


def inputs_of(private, grown=False):
    """Tables of all kinds, with so many private values."""
    block = sum(1 + private[name] for name in SHARED) + 1

    def table(name, dim, **more):
        rows = block if name in SHARED else 1 + private[name] + BUCKETS[name]
        earlier = f"{name} {EARLIER[name]}" if grown else ""
        vocabulary = f"{name} {private[name]}"
        return Table(
            name, rows, dim, private=private[name], vocabulary=vocabulary, earlier=earlier, **more
        )

    return Inputs(
        (
            table("site", 4),
            table("ad", 4, slots=2),
            table("words", 4, slots=3, padded=True, pooling="sum"),
            table("user", 4, shared="tail"),
            table("sign", 4, signed=True),
            table("item", 4, shared="tail"),
            table("same", 2, slots=2),
        ),
        ("age",),
    )


def moved(ids, table, private_now):
    """The new numbers of a column's earlier ids."""
    name = table.name
    first_bucket, first_now = 1 + EARLIER[name], 1 + private_now[name]
    start = start_now = 0
    if name == "item":
        start, start_now = 1 + EARLIER["user"], 1 + private_now["user"]
    if name in SHARED:
        first_bucket, first_now = (
            sum(1 + p[n] for n in SHARED) - (start, start_now)[i]
            for i, p in enumerate((EARLIER, private_now))
        )
    rows = torch.where(ids < 0, ~ids, ids) - start
    rows = torch.where(rows >= first_bucket, rows - first_bucket + first_now, rows) + start_now
    return torch.where(ids == PADDING, ids, torch.where(ids < 0, ~rows, rows))


def draw(inputs):
    """Earlier ids of every kind, the same ids now, and numbers."""
    generator = torch.Generator().manual_seed(0)
    before, now = [], []
    for table in inputs.tables:
        first = 1 + EARLIER["user"] if table.name == "item" else 0
        known = [*range(first, first + 1 + EARLIER[table.name])]
        buckets = BUCKETS[table.name]
        known += [*range(table.rows - buckets, table.rows)]
        if table.signed:
            known += [~row for row in known[-buckets:]]
        if table.padded:
            known += [PADDING]
        for _ in range(table.slots):
            pick = torch.randint(len(known), (ROWS,), generator=generator)
            ids = torch.tensor(known, dtype=torch.int32)[pick]
            before.append(ids)
            now.append(moved(ids, table, NOW))
    numeric = torch.randn(ROWS, 1, generator=generator)
    return torch.stack(before, 1), torch.stack(now, 1).int(), numeric


def trained(name, inputs, config=None):
    """A network with weights and statistics that are not those of its initialisation."""
    network = build_network(name, inputs, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator))
    return network


def grown(earlier, inputs, config=None):
    network = build_network(earlier.name, inputs, config, seed=9)
    network.load_state_dict(grown_state(earlier, network))
    return network


@torch.no_grad()
@pytest.mark.parametrize("name", NETWORKS)
def test_known_values_score_as_before_bit_for_bit(name):
    inputs = inputs_of(EARLIER)
    config = {"batch_norm": True} if "batch_norm" in NETWORKS[name].settings else {}
    earlier = trained(name, inputs, config)
    network = grown(earlier, inputs_of(NOW, grown=True), config)
    before, now, numeric = draw(inputs)
    assert (before != now).any(0).sum() >= 5
    assert torch.equal(network(now, numeric), earlier(before, numeric))
    # Nothing of the earlier network is held on to.
    wanted = earlier(before, numeric)
    for parameter in network.parameters():
        parameter.zero_()
    assert torch.equal(earlier(before, numeric), wanted)


@torch.no_grad()
def test_new_values_score_as_hashed_ones():
    inputs = inputs_of(EARLIER)
    earlier = trained("dcnv2", inputs)
    network = grown(earlier, inputs_of(NOW, grown=True))
    before, now, numeric = draw(inputs)
    # Slot, its one hashed row before, its new private rows now: of site, and of user.
    for slot, tail, new_rows in ((0, 4, (4, 5, 6)), (6, 6, (2, 3, 4))):
        hashed, private = before.clone(), now.clone()
        hashed[:, slot] = tail
        for row in new_rows:
            private[:, slot] = row
            assert torch.equal(network(private, numeric), earlier(hashed, numeric))


@torch.no_grad()
def test_new_values_start_from_the_mean_of_hashed_rows_and_from_zero_under_signs():
    before = Inputs((replace(inputs_of(EARLIER).tables[0], rows=7, vocabulary="a"),), ())
    after = Inputs((replace(before.tables[0], rows=9, private=5, vocabulary="b", earlier="a"),), ())
    for signed in (False, True):
        old, new = (Inputs((replace(i.tables[0], signed=signed),), ()) for i in (before, after))
        earlier = trained("dnn", old)
        weight = earlier.embedding.weights[0].weight
        found = grown(earlier, new).embedding.weights[0].weight
        torch.testing.assert_close(found[:4], weight[:4], rtol=0, atol=0)
        torch.testing.assert_close(found[6:], weight[4:], rtol=0, atol=0)
        start = torch.zeros(4) if signed else weight[4:].mean(0)
        torch.testing.assert_close(found[4:6], start.expand(2, 4))


def test_a_network_of_the_same_tables_is_a_copy():
    earlier = trained("deepfm", inputs_of(NOW))
    for inputs in (inputs_of(NOW), inputs_of(NOW, grown=True)):
        state = grown_state(earlier, build_network("deepfm", inputs))
        assert state.keys() == earlier.state_dict().keys()
        assert all(torch.equal(state[key], v) for key, v in earlier.state_dict().items())
    network = build_network("deepfm", inputs_of(NOW), {"dropout": 0.7})
    assert grown_state(earlier, network).keys() == state.keys()


def test_what_has_not_grown_is_refused():
    before, after = inputs_of(EARLIER), inputs_of(NOW, grown=True)
    earlier = build_network("dnn", before)

    def refused(inputs, match, name="dnn", config=None):
        with pytest.raises(ValueError, match=match):
            grown_state(earlier, build_network(name, inputs, config))

    refused(after, "network was 'dnn'.*is 'lr'", "lr")
    refused(after, "hidden_layers was", config={"hidden_layers": [5]})
    refused(Inputs(after.tables[1:], after.numeric), "categorical columns and dimensions")
    refused(Inputs(after.tables, ("size",)), "numeric columns was")
    refused(inputs_of(NOW), "'site'.*fit HashedEmbeddingEncoder with the encoder of initialModel")
    more = replace(after.tables[0], rows=after.tables[0].rows + 1)
    refused(Inputs((more, *after.tables[1:]), after.numeric), "'site' has 9 rows where 8 follow")
    unknown = replace(before.tables[0], vocabulary="", rows=6)
    refused(Inputs((unknown, *before.tables[1:]), before.numeric), "'site'.*do not go on")
