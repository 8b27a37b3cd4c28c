"""Networks are traced while other threads trace, compute and train."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
import torch

from spark_ctr.networks import build_network
from spark_ctr.precision.packing import check_packable


@pytest.mark.parametrize("name", ["dnn", "autoint"])
def test_tracing_keeps_out_of_other_threads(name, make_network, make_batch):
    batch = make_batch("mixed", rows=64)
    shared = make_network(name, "mixed")
    others = [make_network(name, "mixed", seed=2), shared]
    done = Event()

    def traces():
        for _ in range(15):
            check_packable(shared)

    def computes(network):
        """Compute all the while, and once at least; what others trace must not show."""
        with torch.no_grad():
            first = network(batch.ids, batch.numeric)
        while not done.is_set():
            with torch.no_grad():
                assert torch.equal(network(batch.ids, batch.numeric), first)
        return first

    def trains():
        network = build_network(name, shared.inputs, shared.config, seed=3).train()
        while not done.is_set():
            network.zero_grad()
            network(batch.ids, batch.numeric).square().mean().backward()
            assert all(parameter.grad is not None for parameter in network.parameters())

    with ThreadPoolExecutor(5) as pool:
        busy = [pool.submit(computes, network) for network in others] + [pool.submit(trains)]
        tracing = [pool.submit(traces) for _ in range(2)]
        try:
            for one in tracing:
                one.result()
        finally:
            done.set()
        for one in busy:
            one.result()
