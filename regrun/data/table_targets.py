"""The columns of tables that are to be predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regrun.data.columns import (
    ColumnType,
    Declared,
    boolean_type,
    column_type,
    different_texts,
)
from regrun.data.table import EXACT, Table, scattered_numbers
from regrun.data.targets import Array, as_labels, class_indices, infer_task, is_one_hot
from regrun.errors import ConfigError, CorruptInputError
from regrun.results import Task


@dataclass(frozen=True)
class TableTargets:
    """Targets as the task needs them."""

    task: Task
    reason: str
    """Why it is this task; empty where the config says so."""
    values: list[Array]
    """Of each table: (N,) int64 classes, or (N, T) float64."""
    class_names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    """Of each column: ``number``, ``category``, …"""
    notes: tuple[str, ...] = ()


def table_targets(
    tables: Sequence[Table],
    names: Sequence[str],
    task: Task | None,
    declared: Mapping[str, Declared],
) -> TableTargets:
    """Read the target columns of a table and of its test table, where there is one.

    task: None to infer it. Raises ConfigError for targets that do not suit the task,
    CorruptInputError for those that suit none.
    """
    for name in names:
        for table in tables:
            _check_filled(table, name, table.missing(name))
    types = {name: _type(name, tables, task, declared.get(name)) for name in names}
    notes = [note for kind in types.values() for note in kind.notes]
    shown = tuple(kind.type for kind in types.values())
    reason = ""
    if task is None:
        columns = [_columns(table, types) for table in tables]
        inferred = infer_task(columns, _called(names))
        task, reason, notes = inferred.task, inferred.reason, [*notes, *inferred.notes]
    if task == "regression":
        numbers: list[Array] = [_numbers(table, types) for table in tables]
        return TableTargets(task, reason, numbers, (), shown, tuple(notes))
    indices, class_names = _classes(tables, types)
    return TableTargets(task, reason, indices, class_names, shown, tuple(notes))


def _called(names: Sequence[str]) -> str:
    return f'"{names[0]}"' if len(names) == 1 else ", ".join(names)


def _check_filled(table: Table, name: str, missing: NDArray[np.bool_]) -> None:
    column = table.columns[name]
    if missing.any():
        row = int(missing.argmax())
        words = f" (as {', '.join(column.words)} is among numbers)" if column.words else ""
        raise CorruptInputError(
            f'{table.place(row)}: the target "{name}" is empty{words}; a row without a target '
            "cannot be used"
        )


def _filled_numbers(table: Table, name: str, kind: ColumnType) -> Array:
    """The numbers of a target: NA is missing among those with signs, too."""
    numbers = table.numbers(name, marked=kind.marked)
    _check_filled(table, name, np.isnan(numbers))
    return numbers


def _type(
    name: str,
    tables: Sequence[Table],
    task: Task | None,
    declared: Declared | None,
) -> ColumnType:
    if declared is not None or task is None:
        return column_type(name, tables, declared)
    boolean = boolean_type(name, different_texts(name, tables))
    if boolean is not None:
        return boolean
    if task == "regression":
        return ColumnType("number")
    columns = [table.columns[name] for table in tables]
    numeric = all(each.numbers is not None and each.codes is None for each in columns)
    return ColumnType("number" if numeric else "category")


def _columns(table: Table, types: Mapping[str, ColumnType]) -> Array:
    """(N,) or (N, T), as `infer_task` looks at them."""
    columns: list[Array] = []
    for name, kind in types.items():
        if kind.type == "number":
            columns.append(_filled_numbers(table, name, kind))
        else:
            labels = table.labels(name, boolean=kind.type == "boolean")
            columns.append(labels == "True" if kind.type == "boolean" else labels.astype(str))
    if len(columns) == 1:
        return columns[0]
    for (name, kind), column in zip(types.items(), columns, strict=True):
        if kind.type not in ("number", "boolean"):
            raise ConfigError.at(
                "dataset.target",
                f'"{name}" holds text, such as "{column[0]}"; several targets must be numbers',
            )
    return np.column_stack(columns).astype(np.float64)


def _numbers(table: Table, types: Mapping[str, ColumnType]) -> NDArray[np.float64]:
    values = []
    for name, kind in types.items():
        if kind.type == "boolean":
            values.append(table.labels(name, boolean=True) == "True")
            continue
        column = table.columns[name]
        if column.numbers is None:
            _, wrong = scattered_numbers(column.texts, table.format)
            if len(wrong) and not kind.marked:
                row = int(wrong[0])
                raise ConfigError.at(
                    "dataset.task",
                    f'regression: the target "{name}" is {column.texts[row].as_py()!r} at '
                    f"{table.place(row)}, not a number",
                )
        values.append(_filled_numbers(table, name, kind))
    return np.column_stack(values).astype(np.float64)


def _classes(
    tables: Sequence[Table], types: Mapping[str, ColumnType]
) -> tuple[list[Array], tuple[str, ...]]:
    if len(types) > 1:
        columns = [_columns(table, types) for table in tables]
        if not is_one_hot(columns):
            raise ConfigError.at(
                "dataset.task",
                f"classification: of the {len(types)} targets, one must be 1 and the others 0 in "
                "every row; name one column of classes",
            )
        return [each.argmax(1).astype(np.int64) for each in columns], tuple(types)
    [(name, kind)] = types.items()
    labels = [_labels(table, name, kind) for table in tables]
    if len({each.dtype.kind for each in labels}) > 1:
        labels = [each.astype(str) for each in labels]
    indices, class_names = class_indices(*labels)
    if len(class_names) < 2:
        raise ConfigError.at(
            "dataset.target",
            f'"{name}" is {class_names[0]} in every row; there must be two classes',
        )
    rows = sum(table.rows for table in tables)
    if len(class_names) > max(10, rows / 2):
        raise ConfigError.at(
            "dataset.target",
            f'"{name}" holds {len(class_names):,} different classes in {rows:,} rows, such as '
            f'"{class_names[0]}" and "{class_names[1]}"',
        )
    for table, found in zip(tables, indices, strict=True):
        unseen = np.flatnonzero(found < 0)
        if len(unseen):
            value = table.texts(name)[int(unseen[0])].as_py()
            raise ConfigError.at(
                "dataset.test_path",
                f"{table.place(int(unseen[0]))}: class {value!r} is not among those of "
                f"{tables[0].origin}",
            )
    return [*indices], class_names


def _labels(table: Table, name: str, kind: ColumnType) -> Array:
    if kind.type != "number":
        return table.labels(name, boolean=kind.type == "boolean").astype(str)
    values = table.numbers(name)
    if (np.abs(values) > EXACT).any():
        return table.labels(name, boolean=False).astype(str)
    return as_labels(
        values, lambda row: f'the target "{name}" is {values[row]} at {table.place(row)}'
    )
