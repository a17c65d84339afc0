"""What a package of your own imports to bring penalties, optimizers, models, … to regrun.

These names and their meaning are public and stay. See `regrun guide plugins`.
"""

from regrun.kinds.base import PER_MEMBER, Section, expand_members
from regrun.kinds.constraints import Constraint
from regrun.kinds.datasets import DatasetSection, Subset
from regrun.kinds.models import ModelSection
from regrun.kinds.optimizers.base import Optimizer, Tile, UpdateRule
from regrun.kinds.penalties import Coefficients, EntrywisePenalty, WeightPenalty
from regrun.kinds.schedules import Schedule

__all__ = [
    "PER_MEMBER",
    "Coefficients",
    "Constraint",
    "DatasetSection",
    "EntrywisePenalty",
    "ModelSection",
    "Optimizer",
    "Schedule",
    "Section",
    "Subset",
    "Tile",
    "UpdateRule",
    "WeightPenalty",
    "expand_members",
]
