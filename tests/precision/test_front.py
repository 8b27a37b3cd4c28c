"""The front of quantisation plans, and the plan that is taken."""

import json
import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from spark_ctr.precision.front import (
    Front,
    PlanPoint,
    Targets,
    candidate_plans,
    choose,
    order_of_training,
    pareto,
)
from spark_ctr.precision.sensitivity import Sensitivity

# Few values, so that points tie in some costs and are equal in others.
COSTS = st.sampled_from([0.25, 0.5, 1.0, 1.004, 2.0, 4.0])
SIZES = st.sampled_from([100, 200, 201, 400])
POINTS = st.builds(
    PlanPoint,
    binary=st.sampled_from([(), ("b",), ("a", "b")]),
    auc=st.just(0.7),
    log_loss=COSTS,
    microseconds=COSTS,
    nbytes=SIZES,
    trained=st.booleans(),
    acceptable=st.booleans(),
)
SEVERAL = st.lists(POINTS, min_size=1, max_size=8)
TARGETS = st.builds(Targets, st.none() | COSTS, st.none() | SIZES)


def point(binary=(), loss=0.3, time=1.0, size=100, trained=False, acceptable=True):
    return PlanPoint(tuple(binary), 0.7, loss, time, size, trained, acceptable)


def no_worse(one, two):
    """Return whether one takes and loses no more than two."""
    return (
        one.log_loss <= two.log_loss
        and one.microseconds <= two.microseconds
        and one.nbytes <= two.nbytes
    )


@given(SEVERAL)
def test_the_front_is_what_nothing_dominates_and_dominates_the_rest(points):
    found = pareto(points)
    assert [replace(p, on_front=False) for p in found] == points
    front = [p for p in found if p.on_front]
    assert front
    for p in found:
        beaten_by = [q for q in front if no_worse(q, p) and not no_worse(p, q)]
        assert p.on_front == (not beaten_by)


@given(SEVERAL, TARGETS)
def test_no_acceptable_plan_dominates_the_one_taken(points, targets):
    taken = choose(points, targets)
    assert taken in points
    rivals = [p for p in points if p.acceptable] or points
    assert taken in rivals
    assert not any(no_worse(p, taken) and not no_worse(taken, p) for p in rivals)


@given(SEVERAL, TARGETS)
def test_targets_are_met_where_an_acceptable_plan_meets_them(points, targets):
    def meets(p):
        fast = targets.microseconds is None or p.microseconds <= targets.microseconds
        return fast and (targets.nbytes is None or p.nbytes <= targets.nbytes)

    taken = choose(points, targets)
    within = [p for p in points if p.acceptable and meets(p)]
    assert (targets.excess(taken) == 0) == meets(taken) == (not targets.missed(taken))
    if within:
        assert meets(taken) and taken.log_loss == min(p.log_loss for p in within)
    elif any(p.acceptable for p in points):
        nearest = min(targets.excess(p) for p in points if p.acceptable)
        assert targets.excess(taken) == nearest > 0
    else:
        assert taken.log_loss == min(p.log_loss for p in points)


@given(st.data(), SEVERAL, TARGETS)
def test_the_order_of_the_points_does_not_matter(data, points, targets):
    shuffled = data.draw(st.permutations(points))
    assert choose(shuffled, targets) == choose(points, targets)
    key = repr
    assert sorted(pareto(shuffled), key=key) == sorted(pareto(points), key=key)


def test_a_hair_of_time_is_worth_no_further_1_bit_layer():
    eight, binary = point(time=1.204), point("a", 0.4, time=1.201)
    assert choose([binary, eight], Targets(microseconds=1.0)) == eight
    assert choose([binary, eight], Targets(microseconds=1.202)) == binary


def test_plans_take_one_more_layer_at_a_time():
    sensitivity = Sensitivity(10, 0.3, {"a": 0.3, "b": -0.1, "c": 0.3}, ["e", "a", "b", "c", "d"])
    assert [
        [n for n, p in plan.items() if p == "binary"] for plan in candidate_plans(sensitivity)
    ] == [
        [],
        ["b"],
        ["b", "c"],
        ["a", "b", "c"],
    ]
    assert all(list(plan) == sensitivity.layers for plan in candidate_plans(sensitivity))


def test_plans_within_the_targets_are_trained_first_then_the_nearest():
    sizes = {0: 400, 1: 300, 2: 200, 3: 100}
    points = [point("abc"[:n], size=size) for n, size in sizes.items()]

    def order(targets):
        return [len(p.binary) for p in order_of_training(points, targets)]

    assert order(Targets(nbytes=250)) == [2, 3, 1, 0]
    assert order(Targets(nbytes=400)) == [0, 1, 2, 3]
    assert order(Targets(nbytes=50)) == [3, 2, 1, 0]
    assert order(Targets(microseconds=2.0, nbytes=300)) == [1, 2, 3, 0]


def test_the_front_is_told_and_json_able():
    full = {"auc": math.nan, "log_loss": 0.29, "microseconds_per_row": 8.0, "bytes": 1000}
    points = pareto([replace(point(size=12_000), auc=math.nan), point("a", 0.4, acceptable=False)])
    targets = Targets(0.5, 10_000)
    front = Front(tuple(points), choose(points, targets), targets, full, 0.31)
    assert front.missed
    said = front.reason()
    assert "1-bit layers none, rounded (1 µs a row, 12,000 bytes), the nearest" in said
    assert "targetLatency=0.5 by 100 % (it takes 1)" in said
    assert "maxBytes=10,000 by 20 % (it takes 12,000): raise the target" in said
    found = json.loads(json.dumps(front.to_dict(), allow_nan=False))
    assert found["targets"] == {"microseconds_per_row": 0.5, "bytes": 10_000}
    assert found["full"]["auc"] is None and found["loss_limit"] == 0.31
    assert [(p["chosen"], p["front"], p["acceptable"]) for p in found["points"]] == [
        (True, True, True),
        (False, True, False),
    ]
    assert found["points"][0]["auc"] is None and found["points"][1]["binary"] == ["a"]


def test_what_is_met_and_what_nothing_helps_are_told():
    full = {"auc": 0.7, "log_loss": 0.29}
    lossy = point("a", 0.4, size=500, acceptable=False)

    def front(chosen, targets):
        return Front((chosen,), chosen, targets, full, 0.31)

    met = front(point(), Targets(nbytes=100))
    assert not met.missed and "least lossy plan that meets the targets" in met.reason()
    for targets, also in ((Targets(nbytes=500), ""), (Targets(nbytes=250), ", and is above maxB")):
        failed = front(lossy, targets)
        assert failed.missed and "since none loses at most" in failed.reason()
        assert (", and is above" in failed.reason()) == bool(also) and also in failed.reason()
