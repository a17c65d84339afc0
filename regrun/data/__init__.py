"""Datasets as tensors in memory: loading, splitting, standardising, the order of batches."""
