"""What networks are trained for: terms by name, and objectives made of them.

"click", "tasks", "logits" and "hidden" are here. Another package names a term of its own
"package.module:Class", which is imported where a loss is built, in other processes too.
"""

from spark_ctr.training.losses.objective import Objective, ObjectiveLoss, TermSettings
from spark_ctr.training.losses.term import Outputs, Term

__all__ = ["Objective", "ObjectiveLoss", "Outputs", "Term", "TermSettings"]
