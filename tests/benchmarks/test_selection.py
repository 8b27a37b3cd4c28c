"""What the selection benchmark compares."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from benchmarks.selection import dropped, ranking
from benchmarks.selection_logs import planted
from benchmarks.selection_plans import Counted, Plan
from spark_ctr.power_law import select_columns


@pytest.fixture(scope="module")
def counted():
    return Counted(planted(0, 20_000), seed=0)


def test_ids_are_private_or_the_shared_row():
    plan = Plan({0: np.array([3, 7]), 2: np.array([], np.int64)})
    ids = plan.ids(np.array([[7, 1, 5], [4, 1, 6], [3, 1, 6], [9, 1, 6]]))
    assert ids.tolist() == [[3, 1], [1, 1], [2, 1], [1, 1]]
    assert plan.rows == 6


@pytest.mark.parametrize("budget", [30, 500, 5000])
def test_peers_spend_the_budget_on_the_most_frequent_values(counted, budget):
    best, common = counted.optimum(budget), counted.min_count(budget)
    assert common.rows <= best.rows == budget
    covered = [
        sum(counted.counts[c][np.isin(counted.values[c], v)].sum() for c, v in plan.private.items())
        for plan in (best, common)
    ]
    assert covered[0] >= covered[1]
    # the next lower count would overrun
    every = np.unique(np.concatenate(counted.counts))
    fitting = [counted.at_least(int(count)).rows <= budget for count in every]
    assert common.rows == counted.at_least(int(every[max(fitting.index(True), 1)])).rows


def test_our_plan_has_the_rows_of_the_decisions(counted):
    decisions = select_columns(counted.stats, 1000)
    assert counted.decided(decisions).rows == sum(d.rows for d in decisions)


def test_planted_columns_say_what_they_should(counted):
    log = counted.log
    shares = {s.name: s.joint.share for s in counted.stats}
    relevance = {s.name: s.sure_relevance for s in counted.stats}
    # nothing alone, much together
    assert relevance["left"] == relevance["right"] == 0
    assert min(shares["left"], shares["right"]) > max(shares["device"], shares["category"])
    assert dropped(counted) <= log.useless
    assert "site_name" in dropped(counted)
    assert log.columns[ranking(counted)["mutual information"][0]] == "cookie"
