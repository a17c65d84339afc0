"""Columns of a table as features: numbers imputed, categories one-hot encoded.

Everything is learnt from the training rows alone, and kept in `TableInputs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from regrun.data.columns import ColumnType
from regrun.data.preprocessing import CategoryColumn, NumberColumn, TableInputs
from regrun.data.table import Table
from regrun.errors import ConfigError


def fit_inputs(
    types: Mapping[str, ColumnType],
    tables: Sequence[Table],
    train: NDArray[np.int64],
    missing: str,
) -> tuple[TableInputs, list[str]]:
    """Learn how to encode these columns: first numbers, then categories. Returns notes, too.

    train: rows of the first table. missing: ``refuse``, or how to impute numbers. Raises
    ConfigError for missing cells that are to be refused, CorruptInputError for infinite ones.
    """
    numbers = [name for name, kind in types.items() if kind.type == "number"]
    others = [name for name in types if name not in numbers]
    if missing == "refuse":
        for table in tables:
            _check_missing(table, [*numbers, *others])
    table = tables[0]
    notes: list[str] = []
    fills: list[float | None] = [None] * len(numbers)
    if numbers and missing != "refuse":
        marked = [types[name].marked for name in numbers]
        fills, notes = _means(table, numbers, marked, train, missing)
    columns: list[NumberColumn | CategoryColumn] = [
        NumberColumn(name=name, fill=fill, marked=types[name].marked)
        for name, fill in zip(numbers, fills, strict=True)
    ]
    categories = [
        _categories(table, name, types[name].type == "boolean", train, missing) for name in others
    ]
    if categories:
        counts = ", ".join(f"{each.name} ({len(each.categories)})" for each in categories)
        notes.append(f"one-hot encoded: {counts}")
    for each in categories:
        if table.missing(each.name)[train].any():
            notes.append(
                f'column "{each.name}": empty cells imputed by the most frequent text, '
                f'"{each.fill}"'
            )
    return TableInputs(columns=[*columns, *categories], format=tables[0].format), notes


def _means(
    table: Table,
    names: Sequence[str],
    marked: Sequence[bool],
    train: NDArray[np.int64],
    strategy: str,
) -> tuple[list[float | None], list[str]]:
    """What replaces missing numbers, of each column; notes on columns that miss some."""
    from sklearn.impute import SimpleImputer

    # In C order: the order decides the last bits of a mean.
    values = np.empty((len(train), len(names)))
    for position, (name, may_be_marked) in enumerate(zip(names, marked, strict=True)):
        values[:, position] = table.numbers(name, marked=may_be_marked)[train]
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=True).fit(values)
    notes = [
        f'column "{name}": empty cells imputed by the {strategy} of the training rows'
        for name, cells in zip(names, values.T, strict=True)
        if np.isnan(cells).any()
    ]
    return [float(value) for value in np.nan_to_num(imputer.statistics_)], notes


def _categories(
    table: Table, name: str, boolean: bool, train: NDArray[np.int64], missing: str
) -> CategoryColumn:
    labels = table.labels(name, boolean=boolean)[train]
    counts = Counter(str(label) for label in labels.tolist() if label is not None)
    most_frequent = min(counts, key=lambda text: (-counts[text], text), default="")
    return CategoryColumn(
        name=name,
        fill=None if missing == "refuse" else most_frequent,
        categories=sorted(counts) or [most_frequent],
        boolean=boolean,
    )


def _check_missing(table: Table, features: Sequence[str]) -> None:
    missing = {name: table.missing(name) for name in features}
    with_gaps = [name for name in features if missing[name].any()]
    if with_gaps:
        first = with_gaps[0]
        count = sum(int(missing[name].sum()) for name in with_gaps)
        raise ConfigError.at(
            "dataset.missing",
            f'refuse: column "{first}" is empty at {table.place(int(missing[first].argmax()))} '
            f"({count} empty cells in {len(with_gaps)} columns); impute them by mean, median or "
            "most_frequent",
        )
