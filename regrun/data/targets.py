"""Targets of any file format: numbers for regression, class indices for classification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrun.errors import ConfigError, CorruptInputError

Array = NDArray[Any]


@dataclass(frozen=True)
class Target:
    """The target values of one set of examples, and how messages refer to one of them."""

    values: Array
    """(N,) or (N, T): numbers, booleans or strings."""
    cell: Callable[[int], str]
    """Row → ``y[7] is 0.5``."""
    not_finite: Callable[[tuple[int, ...]], str]
    """Index → the message for a value that is infinite or NaN."""


def as_numbers(target: Target) -> NDArray[np.float64]:
    """Return (N, T) float64. Raises CorruptInputError for a value that is not finite."""
    values = target.values.astype(np.float64)
    check_finite(values, target.not_finite)
    return values.reshape(len(values), -1)


def as_labels(target: Target) -> Array:
    """Return (N,) labels; numbers as integers, so that they sort as numbers.

    Raises ConfigError for a fraction, CorruptInputError for a value that is not finite.
    """
    values = target.values
    if values.dtype.kind != "f":
        return values
    check_finite(values, target.not_finite)
    fractions = np.flatnonzero(values % 1)
    if len(fractions):
        raise ConfigError.at(
            "dataset.task", f"classification: {target.cell(int(fractions[0]))}, not a class"
        )
    return values.astype(np.int64)


def class_indices(train: Array, *others: Array) -> tuple[list[NDArray[np.int64]], tuple[str, ...]]:
    """Replace labels by indices into the sorted classes of the training labels.

    Returns the indices of `train` and of each of `others`, −1 where no training example has that
    label, and the names of the classes.
    """
    classes, train_indices = np.unique(train, return_inverse=True)
    indices = [train_indices.astype(np.int64)]
    for labels in others:
        positions = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        indices.append(np.where(np.isin(labels, classes), positions, -1).astype(np.int64))
    return indices, tuple(str(value) for value in classes.tolist())


def check_finite(values: Array, message: Callable[[tuple[int, ...]], str]) -> None:
    """Raise CorruptInputError with the message for the first value that is infinite or NaN."""
    finite = np.isfinite(values)
    if not finite.all():
        raise CorruptInputError(message(tuple(int(axis[0]) for axis in np.nonzero(~finite))))
