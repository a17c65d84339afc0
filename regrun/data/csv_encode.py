"""Cells as numbers, by rules learnt from the training rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regrun.data.csv_text import Table
from regrun.data.splits import Parts
from regrun.errors import ConfigError, CorruptInputError
from regrun.kinds.datasets import CSV

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 1000
"""A text column with more different values is an identifier, not a feature."""

FEW_NUMBERS = 20
"""Text that is nearly always one of more numbers than this is a column of numbers with slips."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Encoded:
    """The features of each part, (N, D), and the names of the D columns."""

    train: Matrix
    validation: Matrix | None
    test: Matrix
    names: list[str]
    notes: list[str]


def encode(
    section: CSV, features: Sequence[str], table: Table, tested: Table | None, parts: Parts
) -> Encoded:
    """Numeric columns first, then the categories of each text column.

    Raises ConfigError for missing cells that are to be refused and for identifiers,
    CorruptInputError for infinite cells and numbers with a slip of the pen.
    """
    texts = [name for name in features if _is_text(table, name)]
    numbers = [name for name in features if name not in texts]
    tables = [table] if tested is None else [table, tested]
    _check_empty(table, features)
    for each in tables:
        if section.missing == "refuse":
            _check_missing(each, features)
        for name in numbers:
            _check_numbers(each, name)

    train_rows = parts.train.numpy()
    others = [(table, parts.validation), (table if tested is None else tested, parts.test)]
    rows = [(table, train_rows)] + [(t, i.numpy()) for t, i in others if i is not None]
    columns = _Numbers(section.missing, numbers), _Categories(texts)
    fitted = [part.fit(table.frame.iloc[train_rows]) for part in columns]
    matrices = [
        np.hstack([part.transform(each.frame.iloc[index]) for part in columns])
        for each, index in rows
    ]
    notes = [note for part_notes in fitted for note in part_notes]
    notes += columns[1].unknown([each.frame.iloc[index] for each, index in rows[1:]])
    return Encoded(
        matrices[0],
        matrices[1] if parts.validation is not None else None,
        matrices[-1],
        [name for part in columns for name in part.names],
        notes,
    )


class _Numbers:
    """Numeric columns, their missing cells imputed."""

    def __init__(self, missing: str, columns: list[str]) -> None:
        self.columns = self.names = columns
        self.missing = missing
        self.imputer: Any = None

    def fit(self, frame: pd.DataFrame) -> list[str]:
        if self.missing == "refuse" or not self.columns:
            return []
        from sklearn.impute import SimpleImputer

        self.imputer = SimpleImputer(strategy=self.missing, keep_empty_features=True)
        self.imputer.fit(_floats(frame, self.columns))
        empty = frame[self.columns].isna().sum()
        return [
            f'column "{name}": empty cells imputed by the {self.missing} of the training rows'
            for name in self.columns
            if empty[name]
        ]

    def transform(self, frame: pd.DataFrame) -> Matrix:
        values = _floats(frame, self.columns)
        return values if self.imputer is None else np.asarray(self.imputer.transform(values))


class _Categories:
    """Text columns, a column of zeros and ones for every value seen in training."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.names: list[str] = []
        self.encoder: Any = None
        self.common: dict[str, str] = {}

    def fit(self, frame: pd.DataFrame) -> list[str]:
        if not self.columns:
            return []
        from sklearn.preprocessing import OneHotEncoder

        for name in self.columns:
            values = frame[name].dropna().astype(str)
            if values.nunique() > MOST_CATEGORIES:
                raise ConfigError.at(
                    "dataset.ignore",
                    f'column "{name}" holds {values.nunique():,} different texts, more than '
                    f"{MOST_CATEGORIES:,}; leave it out by ignore: [{name}]",
                )
            self.common[name] = str(values.mode().iloc[0]) if len(values) else ""
        self.encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self.encoder.fit(self._texts(frame))
        kinds = list(zip(self.columns, self.encoder.categories_, strict=True))
        self.names = [f"{name}={value}" for name, values in kinds for value in values]
        listed = ", ".join(f"{name} ({len(values)})" for name, values in kinds)
        notes = [f"one-hot encoded: {listed}"]
        empty = frame[self.columns].isna().sum()
        notes += [
            f'column "{name}": empty cells imputed by the most frequent text, "{self.common[name]}"'
            for name in self.columns
            if empty[name]
        ]
        return notes

    def transform(self, frame: pd.DataFrame) -> Matrix:
        if not self.columns:
            return np.empty((len(frame), 0))
        return np.asarray(self.encoder.transform(self._texts(frame)), dtype=np.float64)

    def unknown(self, frames: list[pd.DataFrame]) -> list[str]:
        notes = []
        for position, name in enumerate(self.columns):
            known = self.encoder.categories_[position]
            values = np.concatenate([self._texts(frame)[:, position] for frame in frames])
            new = values[~np.isin(values.astype(str), known.astype(str))]
            if len(new):
                notes.append(
                    f'column "{name}": {len(new)} held-out rows with a text that no training row '
                    f'has, such as "{new[0]}"; all zeros there'
                )
        return notes

    def _texts(self, frame: pd.DataFrame) -> NDArray[np.object_]:
        columns = [
            frame[name].astype(object).where(frame[name].notna(), self.common[name]).astype(str)
            for name in self.columns
        ]
        return np.column_stack([column.to_numpy(dtype=object) for column in columns])


def _floats(frame: pd.DataFrame, columns: list[str]) -> Matrix:
    values = np.empty((len(frame), len(columns)))
    for position, name in enumerate(columns):
        values[:, position] = _as_numbers(frame[name])
    return values


def _as_numbers(column: pd.Series) -> NDArray[np.float64]:
    """A column as float64, NaN where it is empty or no number."""
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    return np.asarray(numbers.to_numpy(dtype=np.float64, na_value=np.nan))


def _is_text(table: Table, name: str) -> bool:
    """Whether a column is to be one-hot encoded.

    Raises CorruptInputError for a column of numbers in which a few cells are none.
    """
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    column = table.frame[name]
    if is_bool_dtype(column):
        return True
    if is_numeric_dtype(column):
        return False
    filled = column.notna().to_numpy()
    values = _as_numbers(column)
    numbers = values[~np.isnan(values)]
    slips = np.flatnonzero(filled & np.isnan(values))
    if not len(slips):
        return False  # whole numbers that no machine integer holds
    if len(numbers) > 9 * len(slips) and len(np.unique(numbers)) > FEW_NUMBERS:
        raise CorruptInputError(
            f'{table.place(slips[0])}: column "{name}": {str(column.iloc[slips[0]])!r} is not a '
            f"number, as the {len(numbers)} others of the column are"
        )
    return True


def _check_numbers(table: Table, name: str) -> None:
    column = table.frame[name]
    values = _as_numbers(column)
    wrong = np.flatnonzero(np.isnan(values) & column.notna().to_numpy())
    if len(wrong):
        raise CorruptInputError(
            f'{table.place(wrong[0])}: column "{name}": {str(column.iloc[wrong[0]])!r} is not a '
            "number, as in the training file"
        )
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise CorruptInputError(f'{table.place(infinite[0])}: column "{name}" is infinite')


def _check_empty(table: Table, features: Sequence[str]) -> None:
    for name in features:
        if table.frame[name].isna().all():
            raise ConfigError.at(
                "dataset.ignore",
                f'{table.path}: column "{name}" is empty; leave it out by ignore: [{name}]',
            )


def _check_missing(table: Table, features: Sequence[str]) -> None:
    empty = table.frame[list(features)].isna()
    with_gaps = [name for name in features if empty[name].any()]
    if with_gaps:
        first = int(np.flatnonzero(empty[with_gaps[0]])[0])
        raise ConfigError.at(
            "dataset.missing",
            f'refuse: column "{with_gaps[0]}" is empty at {table.place(first)} '
            f"({int(empty.to_numpy().sum())} empty cells in {len(with_gaps)} columns); impute them "
            "by mean, median or most_frequent",
        )
