"""The learning rate over the steps."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.training.schedule import SCHEDULES, Schedule


@given(st.sampled_from(SCHEDULES), st.integers(0, 50), st.integers(1, 200))
def test_rises_in_the_warmup_then_never_again(name, warmup_steps, total_steps):
    schedule = Schedule(name, warmup_steps)
    factors = [schedule.factor(step, total_steps) for step in range(total_steps)]
    assert all(0 < factor <= 1 for factor in factors)
    warmup, rest = factors[:warmup_steps], factors[warmup_steps:]
    assert warmup == [(step + 1) / warmup_steps for step in range(len(warmup))]
    assert rest == sorted(rest, reverse=True)
    assert not rest or rest[0] == 1
    if name in ("constant", "plateau"):
        assert set(rest) <= {1.0}


@pytest.mark.parametrize(
    ("name", "peer"),
    [
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30)),
        ("linear", lambda o: torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.0, 30)),
    ],
)
def test_agrees_with_torch(name, peer):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = peer(optimizer)
    for step in range(31):
        expected = optimizer.param_groups[0]["lr"]
        assert Schedule(name).factor(step, 30) == pytest.approx(expected, abs=1e-6)
        optimizer.step()
        scheduler.step()
    assert Schedule(name).factor(99, 30) == 0  # more steps than planned


def test_only_a_plateau_reacts_to_a_worse_epoch():
    assert [Schedule(name).after_worse_epoch(0.5) for name in SCHEDULES] == [1.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("step",), "one of constant, plateau, cosine, linear"), (("cosine", -1), ">= 0, got -1")],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        Schedule(*arguments)
