"""Plans in the metadata of datasets."""

import json

from spark_ctr.tables import ColumnPlan

OWN = ColumnPlan(min_count=2, buckets=1, dim=8)


def test_a_plan_comes_back_as_it_was():
    plan = ColumnPlan(min_count=7, buckets=3, dim=4, kept=False)
    assert OWN.described(json.loads(json.dumps(plan.to_dict()))) == plan


def test_what_is_not_said_is_as_before():
    assert OWN.described({}) == OWN
    assert OWN.described({"buckets": 5}) == ColumnPlan(2, 5, 8)


def test_metadata_of_earlier_versions():
    earlier = {"decision": "drop", "minCount": 9, "buckets": 0, "dimension": 0}
    assert OWN.described(earlier) == ColumnPlan(9, 0, 0, kept=False)
    earlier |= {"decision": "keep_whole", "dimension": 12}
    assert OWN.described(earlier) == ColumnPlan(9, 0, 12)
