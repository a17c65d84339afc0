"""The kinds of penalties: one class each, with its keys, formula and arithmetic."""

from regrun.kinds.penalties.activity import ActivityL1, ActivityL2, ActivityPenalty
from regrun.kinds.penalties.base import Coefficients, EntrywisePenalty, Penalty, WeightPenalty
from regrun.kinds.penalties.concave import MCP, SCAD
from regrun.kinds.penalties.l1_l2 import L1, L2, ElasticNet
from regrun.kinds.penalties.matrix import GroupLasso, Orthogonal, Spectral
from regrun.kinds.penalties.start import L2SP

__all__ = [
    "L1", "L2", "L2SP", "MCP", "SCAD", "ActivityL1", "ActivityL2", "ActivityPenalty",
    "Coefficients", "ElasticNet", "EntrywisePenalty", "GroupLasso", "Orthogonal", "Penalty",
    "Spectral", "WeightPenalty",
]  # fmt: skip
