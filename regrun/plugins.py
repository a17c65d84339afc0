"""The public interface for plug-ins: everything that the class of a new kind needs.

The names and their meaning are stable. `regrun guide plugins` shows how to use them.
"""

from regrun.kinds.base import (
    PER_MEMBER,
    Fraction,
    NonNegative,
    Positive,
    Rate,
    Section,
    expand_members,
)
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection, Subset
from regrun.kinds.losses import Loss
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer, Tile, UpdateRule
from regrun.kinds.penalties import Coefficients, EntrywisePenalty, WeightPenalty
from regrun.kinds.schedules import Schedule

__all__ = [
    "PER_MEMBER", "Coefficients", "Constraint", "DatasetSection", "EntrywisePenalty", "Fraction",
    "Loss", "ModelSection", "NonNegative", "Optimizer", "Positive", "Rate", "Schedule", "Section",
    "Subset", "Tile", "UpdateRule", "WeightPenalty", "expand_members",
]  # fmt: skip
