"""The facts behind a selector's decision on one column, as its report shows them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from spark_ctr.power_law import (
    ColumnDecision,
    ColumnStats,
    CountHistogram,
    JointRelevance,
    PowerLawFit,
    VocabularyGrowth,
    better_alternative,
    bootstrap_test,
    compare_alternatives,
)

FACTS_SCHEMA = (
    "column string, rows long, distinct long, missing long, alpha double, alpha_se double, "
    "xmin long, ks_distance double, tail_values long, p_value double, better_alternative string, "
    "heaps_beta double, unseen_share double, relevance double, joint_relevance double, "
    "partner string, decision string, cut long, private_rows long, buckets long, dimension int, "
    "coverage double, expected_collisions double, reason string"
)


def column_facts(
    stats: ColumnStats,
    decision: ColumnDecision,
    growth: VocabularyGrowth | None,
    alternatives: list[str],
    precision: float,
    seed: int,
) -> dict[str, Any]:
    """Return one row of the report, JSON-able; what is not measured is None."""
    fit, joint = stats.fit, stats.joint
    comparisons, _ = compare_alternatives(stats.histogram, fit, alternatives)
    tested = bootstrap_test(stats.histogram, fit, precision, seed) if fit and precision else None
    return {
        "column": stats.name,
        "rows": int(stats.histogram.total),
        "distinct": int(stats.histogram.n),
        "missing": int(stats.missing),
        "alpha": float(fit.alpha) if fit else None,
        "alpha_se": float(fit.alpha_se) if fit else None,
        "xmin": int(fit.xmin) if fit else None,
        "ks_distance": float(fit.ks_distance) if fit else None,
        "tail_values": int(fit.n_tail) if fit else None,
        "p_value": float(tested.p_value) if tested and tested.sets else None,
        "better_alternative": better_alternative(comparisons),
        "heaps_beta": float(growth.beta) if growth else None,
        "unseen_share": float(growth.unseen_share) if growth else None,
        "relevance": None if stats.relevance is None else float(stats.relevance),
        "joint_relevance": float(joint.share) if joint else None,
        "partner": joint.partner if joint else None,
        "decision": decision.decision,
        "cut": int(decision.min_count),
        "private_rows": int(decision.private),
        "buckets": int(decision.buckets),
        "dimension": int(decision.dim),
        "coverage": float(decision.coverage),
        "expected_collisions": float(decision.expected_collisions),
        "reason": decision.reason,
        "fit": fit.to_dict() if fit else None,
        # a list, as it comes back from JSON
        "joint": {**asdict(joint), "copies": list(joint.copies)} if joint else None,
        "sure_relevance": None if stats.sure_relevance is None else float(stats.sure_relevance),
        "possible_relevance": (
            None if stats.possible_relevance is None else float(stats.possible_relevance)
        ),
    }


def stats_of(facts: dict[str, Any], histogram: dict[str, Any]) -> ColumnStats:
    """Return what the rule decided on, from the facts of `column_facts`."""
    joint = facts["joint"]
    return ColumnStats(
        facts["column"],
        CountHistogram.from_dict(histogram),
        facts["missing"],
        PowerLawFit.from_dict(facts["fit"]) if facts["fit"] else None,
        facts["relevance"],
        JointRelevance(**{**joint, "copies": tuple(joint["copies"])}) if joint else None,
        facts["sure_relevance"],
        facts.get("possible_relevance"),  # models of before have none
    )
