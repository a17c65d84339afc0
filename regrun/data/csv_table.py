"""Tables of the user's own: which columns are numbers, which text; the target; missing cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regrun.data.assemble import assemble
from regrun.data.csv_encode import encode
from regrun.data.csv_text import Table, read_table
from regrun.data.dataset import Dataset, Split
from regrun.data.files import class_indices, find_file
from regrun.data.splits import split
from regrun.errors import ConfigError, CorruptInputError
from regrun.kinds.datasets import CSV, Task
from regrun.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FEW_CLASSES = 20
"""A target of at most this many different whole numbers is taken for classes."""


@dataclass(frozen=True)
class Targets:
    """The target column of both files as tensors."""

    task: Task
    train: Tensor
    test: Tensor | None
    class_names: tuple[str, ...]


def load_csv(section: CSV, base: Path | None = None) -> Dataset:
    """Numbers as they are, text and booleans one-hot encoded; missing cells as ``missing`` says.

    Raises ConfigError where the config and the table do not fit, CorruptInputError, with the line,
    where the table itself is wrong.
    """
    table = read_table(find_file(section.path, "path", base), section.separator)
    _check_columns(section, table)
    tested = None
    if section.test_path is not None:
        tested = read_table(find_file(section.test_path, "test_path", base), section.separator)
    features = [c for c in table.frame.columns if c not in (section.target, *section.ignore)]
    if tested is not None:
        _check_test_columns(section, table, tested, features)

    targets = _targets(section, table, tested)
    test = section.test if targets.test is None else targets.test
    parts = split(section, targets.train, test, targets.class_names)
    encoded = encode(section, features, table, tested, parts)
    test_targets = targets.train if targets.test is None else targets.test

    def part(inputs: NDArray[np.float64], of: Tensor, indices: Tensor) -> Split:
        return Split(torch.from_numpy(inputs), of[indices])

    return assemble(
        section,
        section.name,
        targets.task,
        part(encoded.train, targets.train, parts.train),
        None
        if encoded.validation is None or parts.validation is None
        else part(encoded.validation, targets.train, parts.validation),
        part(encoded.test, test_targets, parts.test),
        standardize=True,
        feature_names=encoded.names,
        class_names=targets.class_names,
        notes=encoded.notes,
    )


def _check_columns(section: CSV, table: Table) -> None:
    columns = [str(column) for column in table.frame.columns]
    for key, names in (("target", (section.target,)), ("ignore", section.ignore)):
        for name in names:
            if name not in columns:
                raise ConfigError.at(f"dataset.{key}", _no_column(name, columns, section.separator))
    if section.target in section.ignore:
        raise ConfigError.at("dataset.ignore", f'"{section.target}" is the target')
    if len(columns) <= 1 + len(set(section.ignore)):
        raise ConfigError.at("dataset.path", f"{table.path}: no column is left beside the target")


def _no_column(name: str, columns: list[str], separator: str) -> str:
    hint = did_you_mean(name, columns)
    shown = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
    alone = f"; one column: is {separator!r} the separator?" if len(columns) == 1 else ""
    return f'no column "{name}"{hint}; columns: {shown}{alone}'


def _check_test_columns(section: CSV, table: Table, tested: Table, features: list[str]) -> None:
    for name in (*features, section.target):
        if name not in tested.frame.columns:
            raise ConfigError.at(
                "dataset.test_path",
                f'{tested.path}: no column "{name}", which {table.path} has',
            )


def _targets(section: CSV, table: Table, tested: Table | None) -> Targets:
    name = section.target
    for part in (table, tested):
        if part is not None:
            empty = np.flatnonzero(part.frame[name].isna())
            if len(empty):
                raise CorruptInputError(
                    f'{part.place(empty[0])}: the target "{name}" is empty; a row without a target '
                    "cannot be used"
                )
    column = table.frame[name]
    task = section.task or _inferred_task(column)
    if task == "regression":
        test = None if tested is None else _numbers(section, tested)
        return Targets(task, _numbers(section, table), test, ())
    return _classes(section, table, tested)


def _inferred_task(column: pd.Series) -> Task:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if is_bool_dtype(column) or not is_numeric_dtype(column):
        return "classification"
    few = column.nunique() <= FEW_CLASSES and bool((column % 1 == 0).all())
    return "classification" if few else "regression"


def _numbers(section: CSV, table: Table) -> Tensor:
    import pandas as pd

    column = table.frame[section.target]
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        raise ConfigError.at(
            "dataset.task",
            f'regression: the target "{section.target}" is {column.iloc[wrong[0]]!r} at '
            f"{table.place(wrong[0])}, not a number",
        )
    _check_finite(table, section.target, values)
    return torch.from_numpy(values.reshape(-1, 1).copy())


def _classes(section: CSV, table: Table, tested: Table | None) -> Targets:
    labels = _labels(section, table)
    test_labels = None if tested is None else _labels(section, tested)
    if test_labels is not None and labels.dtype != test_labels.dtype:
        labels, test_labels = labels.astype(str), test_labels.astype(str)
    train, test, names, unseen = class_indices(labels, test_labels)
    if len(names) < 2:
        raise ConfigError.at(
            "dataset.target",
            f'"{section.target}" is {names[0]} in every row; there must be two classes',
        )
    if tested is not None and len(unseen):
        value = tested.frame[section.target].iloc[unseen[0]]
        raise ConfigError.at(
            "dataset.test_path",
            f"{tested.place(unseen[0])}: class {value!r} is not among those of {table.path}",
        )
    return Targets(
        "classification",
        torch.from_numpy(train),
        None if test is None else torch.from_numpy(test),
        names,
    )


def _labels(section: CSV, table: Table) -> NDArray[np.generic]:
    """Whole numbers as int64, so that they sort as numbers; all else as text."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    column = table.frame[section.target]
    if is_bool_dtype(column) or not is_numeric_dtype(column):
        return column.astype(str).to_numpy(dtype=str)
    values = column.to_numpy()
    _check_finite(table, section.target, values)
    fractions = np.flatnonzero(values % 1 != 0)
    if len(fractions):
        raise ConfigError.at(
            "dataset.task",
            f'classification: the target "{section.target}" is {values[fractions[0]]} at '
            f"{table.place(fractions[0])}, not a class",
        )
    return values.astype(np.int64)


def _check_finite(table: Table, name: str, values: NDArray[np.generic]) -> None:
    infinite = np.flatnonzero(np.isinf(values.astype(np.float64)))
    if len(infinite):
        raise CorruptInputError(f'{table.place(infinite[0])}: column "{name}" is infinite')
