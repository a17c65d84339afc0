"""Deprecated: import from `regrun.plugins`. Kept for plug-ins written for regrun 0.1."""

from regrun.plugins import WeightPenalty

__all__ = ["WeightPenalty"]
