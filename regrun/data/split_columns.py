"""Columns of a table that decide which rows go into which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from regrun.data.splits import SplitOrder
from regrun.data.table import Table
from regrun.errors import ConfigError, CorruptInputError


def split_order(tables: Sequence[Table], columns: Mapping[str, str]) -> SplitOrder:
    """What the columns of these keys, `stratify`, `group` or `time`, say of the first table's rows.

    Raises ConfigError for a group that is in both tables, CorruptInputError for cells that are
    missing or no times.
    """
    table = tables[0]
    for name in columns.values():
        missing = table.missing(name)
        if missing.any():
            row = int(missing.argmax())
            raise CorruptInputError(
                f'{table.place(row)}: column "{name}" is empty; it decides how rows are divided'
            )
    if "time" in columns:
        return SplitOrder(times=_times(table, columns["time"]))
    if "group" in columns:
        _check_apart(tables, columns["group"])
        return SplitOrder(groups=_codes(table, columns["group"]))
    if "stratify" in columns:
        return SplitOrder(strata=_codes(table, columns["stratify"]))
    return SplitOrder()


def _codes(table: Table, name: str) -> Tensor:
    _, codes = np.unique(np.asarray(table.texts(name).to_pylist(), dtype=str), return_inverse=True)
    return torch.from_numpy(codes.astype(np.int64))


def _times(table: Table, name: str) -> Tensor:
    """Numbers as they are, dates and times in nanoseconds."""
    import pandas as pd

    numbers = table.columns[name].numbers
    if numbers is not None:
        return torch.from_numpy(numbers.copy())
    texts = pd.Series(table.texts(name).to_pylist(), dtype=str)
    times = pd.to_datetime(texts, errors="coerce", format="ISO8601", utc=True)
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise CorruptInputError(
            f'{table.place(row)}: column "{name}": {texts.iloc[row]!r} is neither a number nor a '
            "date or time as in 2024-05-31 or 2024-05-31T12:00"
        )
    return torch.from_numpy(times.dt.as_unit("ns").astype("int64").to_numpy().copy())


def _check_apart(tables: Sequence[Table], name: str) -> None:
    """No group is in the training and the test file."""
    if len(tables) < 2 or name not in tables[1].columns:
        return
    known = set(tables[0].texts(name).to_pylist())
    for row, text in enumerate(tables[1].texts(name).to_pylist()):
        if text in known:
            raise ConfigError.at(
                "dataset.group",
                f'{tables[1].place(row)}: group "{text}" is in {tables[0].origin}, too',
            )
