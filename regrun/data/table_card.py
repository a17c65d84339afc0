"""What the data card says of tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from regrun.data.columns import ColumnType
from regrun.data.preprocessing import CategoryColumn, NumberColumn, TableInputs
from regrun.data.roles import Roles
from regrun.data.table import Table
from regrun.data.table_targets import TableTargets
from regrun.results import ColumnCard, InputCard


def input_card(tables: Sequence[Table], inputs: TableInputs) -> InputCard:
    """The features together; the range is that of the columns of numbers."""
    numbers = [column for column in inputs.columns if isinstance(column, NumberColumn)]
    low, high = np.inf, -np.inf
    for table in tables:
        for column in numbers:
            values = table.numbers(column.name, marked=column.marked)
            if not np.isnan(values).all():
                low, high = min(low, np.nanmin(values)), max(high, np.nanmax(values))
    return InputCard(
        shape=[len(inputs.feature_names)],
        dtype=tables[0].kind,
        low=float(low) if numbers else None,
        high=float(high) if numbers else None,
    )


def column_cards(
    roles: Roles,
    targets: TableTargets,
    types: Mapping[str, ColumnType],
    inputs: TableInputs,
    missing: str,
    standardize: bool,
) -> Iterator[ColumnCard]:
    """A card for each column, in the order of the file."""
    encoded = {column.name: column for column in inputs.columns}
    keys: tuple[Literal["group", "time"], ...] = ("group", "time")
    dividing = {roles.splitting[key]: key for key in keys if key in roles.splitting}
    target_types = dict(zip(roles.targets, targets.types, strict=True))
    for name in roles.tables[0].names:
        empty = sum(
            int(table.missing(name).sum()) for table in roles.tables if name in table.columns
        )
        if name in target_types:
            encoding = "class" if targets.task == "classification" else "number to predict"
            yield ColumnCard(
                name=name, role="target", type=target_types[name], encoding=encoding, missing=empty
            )
        elif name in dividing:
            yield ColumnCard(
                name=name,
                role=dividing[name],
                type="not looked at",
                encoding="no feature: decides how rows are divided",
                missing=empty,
            )
        elif name in types:
            column = encoded[name]
            yield ColumnCard(
                name=name,
                role="feature",
                type=types[name].type,
                encoding=_encoding(column, standardize),
                missing=empty,
                imputed=_imputed(column, missing) if empty else None,
            )
        elif name in roles.indices:
            yield ColumnCard(
                name=name,
                role="index",
                type="index",
                encoding="ignored: names the rows",
                missing=empty,
            )
        else:
            dated = name in roles.features
            yield ColumnCard(
                name=name,
                role="ignored",
                type="date" if dated else "not looked at",
                encoding="ignored: dates or times" if dated else "ignored by the config",
                missing=empty,
            )


def _encoding(column: NumberColumn | CategoryColumn, standardize: bool) -> str:
    if isinstance(column, CategoryColumn):
        one_hot = f"one-hot ({len(column.categories)})"
        return f"{one_hot}, standardized" if standardize else one_hot
    return "standardized" if standardize else "as it is"


def _imputed(column: NumberColumn | CategoryColumn, missing: str) -> str | None:
    if column.fill is None:
        return None
    if isinstance(column, CategoryColumn):
        return f'most frequent text of the training rows, "{column.fill}"'
    return f"{missing} of the training rows, {column.fill:g}"
