"""Power laws in the value counts of categorical columns, and what they decide.

Pure numpy and scipy: a column enters as the histogram of its value counts, so the cost of
everything here depends on the number of distinct counts, never on the number of rows.
"""

from .bootstrap import BootstrapTest, bootstrap_test, draw_zeta
from .budget import select_columns
from .budget_plot import coverage_curve, plot_budget
from .columns import ColumnDecision, ColumnStats, embedding_dimension
from .comparison import Comparison, better_alternative, compare_alternatives
from .continuous import ContinuousPowerLawFit, fit_continuous
from .counted import Counted, column_growth, column_stats
from .fit import PowerLawFit, fit_discrete
from .gain import Information, information
from .growth import (
    VocabularyGrowth,
    expected_distinct,
    expected_unseen,
    heaps_fit,
    vocabulary_growth,
)
from .histogram import CountHistogram
from .joint import JointRelevance, joint_relevance
from .plotting import plot_ccdf
from .relevance import label_relevance

__all__ = [
    "BootstrapTest",
    "ColumnDecision",
    "ColumnStats",
    "Comparison",
    "ContinuousPowerLawFit",
    "CountHistogram",
    "Counted",
    "Information",
    "JointRelevance",
    "PowerLawFit",
    "VocabularyGrowth",
    "better_alternative",
    "bootstrap_test",
    "column_growth",
    "column_stats",
    "compare_alternatives",
    "coverage_curve",
    "draw_zeta",
    "embedding_dimension",
    "expected_distinct",
    "expected_unseen",
    "fit_continuous",
    "fit_discrete",
    "heaps_fit",
    "information",
    "joint_relevance",
    "label_relevance",
    "plot_budget",
    "plot_ccdf",
    "select_columns",
    "vocabulary_growth",
]
