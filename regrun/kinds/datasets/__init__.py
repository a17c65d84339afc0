"""Datasets: each kind is a class with its keys, its facts, and how it loads."""

from regrun.kinds.datasets.base import DatasetSection, Held, Subset, Task

__all__ = ["DatasetSection", "Held", "Subset", "Task"]
