"""Deprecated: import from `regrun.plugins`. Kept for plug-ins written for regrun 0.1."""

from regrun.plugins import ModelSection

__all__ = ["ModelSection"]
