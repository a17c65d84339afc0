"""Classes, from the labels of any file format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrun.errors import ConfigError

Array = NDArray[Any]


def as_labels(values: Array, cell: Callable[[int], str]) -> Array:
    """Return (N,) finite values as labels; numbers as integers, so that they sort as numbers.

    cell: how messages refer to the value of a row. Raises ConfigError for a fraction.
    """
    if values.dtype.kind != "f":
        return values
    fractions = np.flatnonzero(values % 1)
    if len(fractions):
        message = f"classification: {cell(int(fractions[0]))}, not a class"
        raise ConfigError.at("dataset.task", message)
    return values.astype(np.int64)


def class_indices(train: Array, *others: Array) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Replace labels by indices into the sorted classes of the training labels.

    Returns the indices of `train` and of each of `others`, −1 where no training example has that
    label, and the names of the classes.
    """
    classes = np.unique(train)
    indices = []
    for labels in (train, *others):
        positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        indices.append(np.where(np.isin(labels, classes), positions, -1).astype(np.int64))
    return indices, tuple(str(value) for value in classes.tolist())
