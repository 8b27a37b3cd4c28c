"""Fits in threads give what they give one after the other, and leave the user's draws alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from memory_log import INPUTS, PLAIN, MemoryFeed, click_rows

from spark_ctr.networks import build_network
from spark_ctr.training import DistillationLoss, TrainingSettings, train
from spark_ctr.training.checkpoints import digest_of

DROPPING = {"hidden_layers": [8, 4], "dropout": 0.4, "batch_norm": False}
NETWORKS = {
    "dnn": DROPPING | {"batch_norm": True, "members": 2},
    "autoint": DROPPING | {"attention_layers": 1, "attention_dim": 8},
    "drawing_networks:Drawing": {},
}


def fitted(name, seed):
    """The weights after two epochs, as a digest."""
    network = build_network(name, INPUTS, NETWORKS[name], seed)
    settings = TrainingSettings(
        **PLAIN | {"seed": seed}, max_epochs=2, device="cpu", precision="float32"
    )
    train(network, MemoryFeed(click_rows(400), 32, seed), None, settings)
    return digest_of(network.state_dict())


def disturbed(work):
    """Do the work while another thread draws; return its result and that thread's draws."""
    over, drawn = threading.Event(), []

    def draw():
        torch.manual_seed(7)
        while not over.is_set():
            drawn.append(torch.rand(1))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        return work(), drawn
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("name", NETWORKS)
def test_fits_at_the_same_time_are_those_one_after_the_other(name):
    alone = [fitted(name, seed) for seed in (1, 2)]
    assert alone[0] != alone[1]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fitted, [name] * 4, [1, 2, 1, 2])) == alone * 2


@pytest.mark.parametrize("name", ["dnn", "autoint"])
def test_a_fit_and_a_thread_that_draws_do_not_see_each_other(name):
    result, drawn = disturbed(lambda: fitted(name, 1))
    assert result == fitted(name, 1)
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(
        torch.cat(drawn), torch.cat([torch.rand(1, generator=generator) for _ in drawn])
    )


def test_a_module_of_ones_own_leaves_the_global_generator_as_it_was():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first = fitted("drawing_networks:Drawing", 1)
    assert torch.equal(torch.rand(4), expected)
    assert fitted("drawing_networks:Drawing", 1) == first


def test_projections_of_distillation_are_drawn_apart_from_other_threads():
    teacher, student = (build_network("dnn", INPUTS, DROPPING, seed) for seed in (1, 2))

    def projections():
        return digest_of(DistillationLoss(teacher, student, layer_weights=0.1, seed=5).state_dict())

    assert disturbed(projections)[0] == projections()
