"""Power laws in the value counts of categorical columns, and what they decide.

Pure numpy and scipy: a column enters as the histogram of its value counts, so the cost of
everything here depends on the number of distinct counts, never on the number of rows.
"""

from .budget import select_columns
from .columns import ColumnDecision, ColumnStats, embedding_dimension
from .comparison import Comparison, better_alternative, compare_alternatives
from .fit import PowerLawFit, fit_discrete
from .gain import Information, information
from .histogram import CountHistogram
from .joint import JointRelevance, joint_relevance
from .plotting import plot_ccdf
from .relevance import label_relevance

__all__ = [
    "ColumnDecision",
    "ColumnStats",
    "Comparison",
    "CountHistogram",
    "Information",
    "JointRelevance",
    "PowerLawFit",
    "better_alternative",
    "compare_alternatives",
    "embedding_dimension",
    "fit_discrete",
    "information",
    "joint_relevance",
    "label_relevance",
    "plot_ccdf",
    "select_columns",
]
