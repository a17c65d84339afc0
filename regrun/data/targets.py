"""Targets of any file format: which task they make, and classes from labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regrun.errors import ConfigError, CorruptInputError
from regrun.results import Task

Array = NDArray[Any]

FEW_CLASSES = 20
"""At most this many different integers are classes, if each appears twice on average."""

MOST_CODES, EXAMPLES_PER_CODE = 1000, 10
"""More integers are classes when they are the codes 0…C−1 or 1…C, at most so many, each with so
many examples on average."""

_INT64 = 2.0**63


@dataclass(frozen=True)
class InferredTask:
    """What targets were taken for, and why."""

    task: Task
    reason: str
    """One sentence that names the targets."""
    is_guess: bool
    """Whether a reader has to be made aware of it."""

    @property
    def notes(self) -> list[str]:
        """The reason, where it is a guess."""
        return [f"task: {self.task}, since {self.reason}"] if self.is_guess else []


def infer_task(parts: Sequence[Array], name: str) -> InferredTask:
    """Decide the task by the targets of all parts together.

    Text, booleans and one-hot rows are classes. Integers, also in floating point, are classes when
    they are few (`FEW_CLASSES`) or codes without a gap (`MOST_CODES`). All else is regression.

    parts: (N,), (N, 1) or (N, T) each. name: what the reason calls the targets.
    """
    if parts[0].ndim == 2 and parts[0].shape[1] > 1:
        return _task_of_columns(parts, name)
    columns = [part.reshape(-1) for part in parts]
    if any(column.dtype.kind not in "fiub" for column in columns):
        return InferredTask("classification", f"{name} holds text", is_guess=False)
    if all(column.dtype.kind == "b" for column in columns):
        return InferredTask("classification", f"{name} holds booleans", is_guess=False)
    values, counts = _values_of(columns)
    if not np.isfinite(values).all() or (values % 1).any():
        return InferredTask("regression", f"{name} holds fractions", is_guess=False)
    inferred = _task_of_integers(values, int(counts.sum()), name)
    are_labels = values.dtype.kind in "iu" and values[0] == 0 and values[-1] == len(values) - 1
    if inferred.task == "classification" and len(values) <= FEW_CLASSES and are_labels:
        return replace(inferred, is_guess=False)  # as every library encodes labels
    return inferred


def _values_of(columns: Sequence[Array]) -> tuple[Array, Array]:
    """The different numbers in ascending order, and how often each appears."""
    if all(column.dtype.kind in "iub" for column in columns):
        return np.unique(np.concatenate(columns), return_counts=True)
    floats = [column.astype(np.float64) for column in columns]
    return np.unique(np.concatenate(floats), return_counts=True)


def _task_of_integers(values: Array, examples: int, name: str) -> InferredTask:
    """values: whole, different, ascending."""
    count, low, high = len(values), int(values[0]), int(values[-1])
    held = f"{name} holds {count:,} different integers, {low} to {high}"
    codes = low in (0, 1) and high - low == count - 1
    many_of_each = count <= MOST_CODES and examples >= EXAMPLES_PER_CODE * count
    few = count <= FEW_CLASSES and examples >= 2 * count
    if few or (codes and many_of_each):
        reason = f"{held} (dataset.task: regression predicts them as numbers)"
        return InferredTask("classification", reason, is_guess=count > 2)
    reason = f"{held} (dataset.task: classification takes each for a class)"
    return InferredTask("regression", reason, is_guess=True)


def _task_of_columns(parts: Sequence[Array], name: str) -> InferredTask:
    columns = parts[0].shape[1]
    if is_one_hot(parts):
        reason = (
            f"every row of {name} has one 1 in {columns} columns: one-hot classes "
            "(dataset.task: regression predicts the columns as numbers)"
        )
        return InferredTask("classification", reason, is_guess=True)
    in_unit = all(bool(((part >= 0) & (part <= 1)).all()) for part in parts)
    reason = f"{name} has {columns} columns of numbers"
    if in_unit:
        reason += " from 0 to 1, and not one 1 in every row: no one-hot classes"
    return InferredTask("regression", reason, is_guess=in_unit)


def is_one_hot(parts: Sequence[Array]) -> bool:
    """Whether each row of all parts, (N, T) with T > 1, is 0 but for one 1."""
    if any(part.dtype.kind not in "fiub" or part.ndim != 2 or part.shape[1] < 2 for part in parts):
        return False
    return all(
        bool(((part == 0) | (part == 1)).all() and (part.sum(1, dtype=np.float64) == 1).all())
        for part in parts
    )


def as_labels(values: Array, cell: Callable[[int], str]) -> Array:
    """Return (N,) finite values as labels; numbers as integers, so that they sort as numbers.

    Text loses the blanks around it. cell: how messages refer to the value of a row. Raises
    ConfigError for a fraction.
    """
    if values.dtype.kind in "SU":
        return np.char.strip(as_text(values, cell))
    if values.dtype.kind != "f":
        return values
    fractions = np.flatnonzero(values % 1)
    if len(fractions):
        message = f"classification: {cell(int(fractions[0]))}, not a class"
        raise ConfigError.at("dataset.task", message)
    if (np.abs(values) >= _INT64).any():  # beyond the range of int64; they still sort as numbers
        return values.astype(np.float64)
    return values.astype(np.int64)


def as_text(values: Array, cell: Callable[[int], str]) -> Array:
    """Decode bytes as UTF-8. Raises CorruptInputError for other bytes."""
    if values.dtype.kind != "S":
        return values
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError:
        for row, value in enumerate(values.tolist()):
            try:
                value.decode("utf-8")
            except UnicodeDecodeError as error:
                raise CorruptInputError(f"{cell(row)}, which is not UTF-8") from error
        raise


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
    return indices, tuple(_class_name(value) for value in classes.tolist())


def _class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)
