"""Datasets as tensors in memory: reading files, encoding, splitting, standardizing.

Nothing here knows a section of the config; `regrun.kinds.datasets` brings both together.
"""
