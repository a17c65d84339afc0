"""A table in memory, and the targets in one of its columns, whatever file it was read from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.data.targets import Array, Target, as_labels, as_numbers, class_indices
from regrun.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    import pandas as pd

    from regrun.kinds.datasets.base import Task

FEW_CLASSES = 20
"""A target of at most this many distinct integers is taken for classes."""


@dataclass(frozen=True)
class Table:
    """A table in memory. Row i of ``frame`` begins on line ``lines[i]`` of the file."""

    path: Path
    frame: pd.DataFrame
    lines: list[int]

    def place(self, row: int) -> str:
        """Return ``flats.csv:17``."""
        return f"{self.path}:{self.lines[row]}"

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column as float64, NaN where it is empty or not a number."""
        import pandas as pd

        numbers = pd.to_numeric(self.frame[column], errors="coerce")
        return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))

    def is_numeric(self, column: str) -> bool:
        """Whether all filled cells of a column are numbers; booleans are not."""
        from pandas.api.types import is_bool_dtype, is_numeric_dtype

        values = self.frame[column]
        return is_numeric_dtype(values) and not is_bool_dtype(values)


@dataclass(frozen=True)
class TableTargets:
    """The target columns of a table and of its test table, where there is one."""

    task: Task
    train: Tensor
    """(N,) int64 or (N, 1) float64."""
    test: Tensor | None
    class_names: tuple[str, ...]


def table_targets(
    table: Table, tested: Table | None, column: str, task: Task | None
) -> TableTargets:
    """Read the target column of both tables. task: None to infer it from the column.

    Raises ConfigError for targets that do not suit the task, CorruptInputError for those that
    suit none.
    """
    tables = [table] if tested is None else [table, tested]
    for each in tables:
        _check_filled(each, column)
    if task is None:
        task = _inferred_task(table, column)
    found: list[Array]
    names: tuple[str, ...] = ()
    if task == "regression":
        found = [_numbers(each, column) for each in tables]
    else:
        found, names = _classes(tables, column)
    train, test, *_ = [*map(torch.from_numpy, found), None]
    return TableTargets(task, train, test, names)


def _check_filled(table: Table, column: str) -> None:
    empty = np.flatnonzero(table.frame[column].isna())
    if len(empty):
        raise CorruptInputError(
            f'{table.place(empty[0])}: the target "{column}" is empty; a row without a target '
            "cannot be used"
        )


def _inferred_task(table: Table, column: str) -> Task:
    if not table.is_numeric(column):
        return "classification"
    values = table.frame[column]
    few = values.nunique() <= FEW_CLASSES and bool((values % 1 == 0).all())
    return "classification" if few else "regression"


def _target(table: Table, column: str, values: Array) -> Target:
    return Target(
        values,
        lambda row: f'the target "{column}" is {values[row]} at {table.place(row)}',
        lambda index: f'{table.place(index[0])}: column "{column}" is infinite',
    )


def _numbers(table: Table, column: str) -> NDArray[np.float64]:
    values = table.numbers(column)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise ConfigError.at(
            "dataset.task",
            f'regression: the target "{column}" is {table.frame[column].iloc[wrong[0]]!r} at '
            f"{table.place(wrong[0])}, not a number",
        )
    return as_numbers(_target(table, column, values))


def _classes(tables: list[Table], column: str) -> tuple[list[Array], tuple[str, ...]]:
    labels = [_labels(table, column) for table in tables]
    if len({each.dtype for each in labels}) > 1:
        labels = [each.astype(str) for each in labels]
    indices, names = class_indices(*labels)
    if len(names) < 2:
        raise ConfigError.at(
            "dataset.target",
            f'"{column}" is {names[0]} in every row; there must be two classes',
        )
    for table, found in zip(tables, indices, strict=True):
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            value = table.frame[column].iloc[unseen[0]]
            raise ConfigError.at(
                "dataset.test_path",
                f"{table.place(unseen[0])}: class {value!r} is not among those of {tables[0].path}",
            )
    return list(indices), names


def _labels(table: Table, column: str) -> Array:
    values = table.frame[column]
    if not table.is_numeric(column):
        return values.astype(str).to_numpy(dtype=str)
    return as_labels(_target(table, column, values.to_numpy()))
