"""How the parts of a step are told apart, and what is killed."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import scaling_profile
from benchmarks.scaling_kills import PHASES, deadly
from benchmarks.scaling_profile import CASES, OTHER, WRAPPED, Profile, network_of

CLOCKS = ("perf_counter", "thread_time", "process_time")


def test_a_part_leaves_out_the_parts_within_it(monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(**dict.fromkeys(CLOCKS, lambda: now[0]))
    monkeypatch.setattr(scaling_profile, "time", clock)
    profile = Profile()
    with profile.inside("outer"):
        now[0] += 1
        with profile.inside("inner"):
            now[0] += 3
        now[0] += 0.5
    assert {part: cost.seconds for part, cost in profile.costs.items()} == {
        OTHER: 0,
        "outer": 1.5,
        "inner": 3,
    }
    assert profile.other_threads == 0
    profile.clear()
    assert profile.of("outer").seconds == 0


def test_messages_and_bytes_are_of_the_part_that_sends_them():
    profile, taken = Profile(), []

    def all_reduce(tensor):
        taken.append(tensor)

    counted = profile.count(all_reduce)
    with profile.inside("statistics"):
        counted(torch.zeros(10, dtype=torch.float64))
    counted(torch.zeros(3))
    assert [len(tensor) for tensor in taken] == [10, 3]
    costs = {part: (profile.of(part).messages, profile.of(part).bytes) for part in profile.costs}
    assert costs == {"statistics": (1, 80), OTHER: (1, 12)}


def test_all_that_is_wrapped_or_killed_is_there():
    assert all(callable(getattr(owner, name)) for owner, name, _ in WRAPPED)
    assert all(callable(getattr(owner, name)) for owner, name in PHASES)
    sizes, numeric, layers, _ = CASES["small"]
    network = network_of("small", 0)
    assert [t.rows for t in network.inputs.tables] == list(sizes)
    assert len(network.inputs.numeric) == numeric
    assert network.config["hidden_layers"] == layers


@pytest.mark.parametrize("after", [False, True])
def test_a_process_is_killed_at_the_call_that_was_asked_for(monkeypatch, after):
    killed, done = [], []
    monkeypatch.setattr("os.kill", lambda pid, sign: killed.append(len(done)))
    work = deadly(lambda: done.append(1), 3, after)
    for _ in range(4):
        work()
    assert killed == [3 if after else 2]
