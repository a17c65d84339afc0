"""Columns of a table as features: numbers imputed, texts one-hot encoded.

Everything is learnt from the training rows alone. scikit-learn's ColumnTransformer is not used: it
hands columns over in another memory order, which changes the last bits of imputed means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regrun.data.splits import Parts
from regrun.data.tables import Table
from regrun.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

MOST_CATEGORIES = 1000
"""A text column with more distinct values is an identifier, not a feature."""

FEW_NUMBERS = 20
"""A text column of mostly numbers, with more distinct ones than this, holds mistyped numbers."""

Matrix = NDArray[np.float64]
Rows = tuple[Table, NDArray[np.int64]]
"""Some rows of a table."""


@dataclass(frozen=True)
class Features:
    """The features of each part, (N, D), and the names of the D columns."""

    train: Matrix
    validation: Matrix | None
    test: Matrix
    names: list[str]
    notes: list[str]


def encode_features(
    features: Sequence[str], table: Table, tested: Table | None, parts: Parts, missing: str
) -> Features:
    """Encode the feature columns: numeric ones first, then the categories of each text column.

    tested: the table that `parts.test` points into, where it is another one. missing: ``refuse``
    or how to impute numbers. Raises ConfigError for missing cells that are to be refused and for
    identifiers, CorruptInputError for infinite cells and mistyped numbers.
    """
    texts = [name for name in features if _is_text(table, name)]
    numbers = [name for name in features if name not in texts]
    _check_empty(table, features)
    for each in [table] if tested is None else [table, tested]:
        if missing == "refuse":
            _check_missing(each, features)
        for name in numbers:
            _check_numbers(each, name)

    train = (table, parts.train.numpy())
    held_out = [] if parts.validation is None else [(table, parts.validation.numpy())]
    held_out.append((table if tested is None else tested, parts.test.numpy()))
    encoders = _Numbers(numbers, missing), _Texts(texts)
    notes = [note for encoder in encoders for note in encoder.fit(train)]
    notes += encoders[1].unknown(held_out)
    matrices = [
        np.hstack([encoder.transform(rows) for encoder in encoders]) for rows in (train, *held_out)
    ]
    return Features(
        matrices[0],
        matrices[1] if parts.validation is not None else None,
        matrices[-1],
        [name for encoder in encoders for name in encoder.names],
        notes,
    )


class _Numbers:
    """Numeric columns; empty cells are imputed unless ``missing`` is ``refuse``."""

    def __init__(self, columns: list[str], missing: str) -> None:
        self.columns = self.names = columns
        self.missing = missing
        self.imputer: SimpleImputer | None = None

    def fit(self, rows: Rows) -> list[str]:
        """Learn what to impute; return notes."""
        if self.missing == "refuse" or not self.columns:
            return []
        from sklearn.impute import SimpleImputer

        values = self._values(rows)
        self.imputer = SimpleImputer(strategy=self.missing, keep_empty_features=True).fit(values)
        return [
            f'column "{name}": empty cells imputed by the {self.missing} of the training rows'
            for name, cells in zip(self.columns, values.T, strict=True)
            if np.isnan(cells).any()
        ]

    def transform(self, rows: Rows) -> Matrix:
        values = self._values(rows)
        return values if self.imputer is None else np.asarray(self.imputer.transform(values))

    def _values(self, rows: Rows) -> Matrix:
        table, index = rows
        # In C order, column by column: the order decides the last bits of a mean.
        values = np.empty((len(index), len(self.columns)))
        for position, name in enumerate(self.columns):
            values[:, position] = table.numbers(name)[index]
        return values


class _Texts:
    """Text columns: a column of zeros and ones for each value of the training rows."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self.names: list[str] = []
        self.encoder: OneHotEncoder | None = None
        self.most_frequent: dict[str, str] = {}

    def fit(self, rows: Rows) -> list[str]:
        """Learn the values of each column, and the one to impute; return notes."""
        if not self.columns:
            return []
        from sklearn.preprocessing import OneHotEncoder

        table, index = rows
        frame = table.frame[self.columns].iloc[index]
        for name in self.columns:
            values = frame[name].dropna().astype(str)
            if values.nunique() > MOST_CATEGORIES:
                raise ConfigError.at(
                    "dataset.ignore",
                    f'column "{name}" holds {values.nunique():,} different texts, more than '
                    f"{MOST_CATEGORIES:,}; leave it out by ignore: [{name}]",
                )
            self.most_frequent[name] = str(values.mode().iloc[0]) if len(values) else ""
        self.encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        self.encoder.fit(self._values(rows))
        categories = list(zip(self.columns, self.encoder.categories_, strict=True))
        self.names = [f"{name}={value}" for name, values in categories for value in values]
        counts = ", ".join(f"{name} ({len(values)})" for name, values in categories)
        return [
            f"one-hot encoded: {counts}",
            *(
                f'column "{name}": empty cells imputed by the most frequent text, "{text}"'
                for name, text in self.most_frequent.items()
                if frame[name].isna().any()
            ),
        ]

    def transform(self, rows: Rows) -> Matrix:
        if self.encoder is None:
            return np.empty((len(rows[1]), 0))
        return np.asarray(self.encoder.transform(self._values(rows)), dtype=np.float64)

    def unknown(self, held_out: list[Rows]) -> list[str]:
        """Notes on values that no training row has."""
        if self.encoder is None:
            return []
        notes = []
        for position, name in enumerate(self.columns):
            known = self.encoder.categories_[position]
            values = np.concatenate([self._values(rows)[:, position] for rows in held_out])
            new = values[~np.isin(values.astype(str), known.astype(str))]
            if len(new):
                notes.append(
                    f'column "{name}": {len(new)} held-out rows with a text that no training row '
                    f'has, such as "{new[0]}"; all zeros there'
                )
        return notes

    def _values(self, rows: Rows) -> NDArray[np.object_]:
        table, index = rows
        columns = []
        for name, text in self.most_frequent.items():
            values = table.frame[name].iloc[index]
            texts = values.astype(object).where(values.notna(), text).astype(str)
            columns.append(texts.to_numpy(dtype=object))
        return np.column_stack(columns)


def _is_text(table: Table, name: str) -> bool:
    """Whether a column is to be one-hot encoded.

    Raises CorruptInputError for a numeric column with a few mistyped numbers.
    """
    from pandas.api.types import is_bool_dtype

    column = table.frame[name]
    if table.is_numeric(name):
        return False
    if is_bool_dtype(column):
        return True
    values = table.numbers(name)
    numbers = values[~np.isnan(values)]
    mistyped = np.flatnonzero(column.notna().to_numpy() & np.isnan(values))
    if not len(mistyped):
        return False  # integers too large for a machine word
    if len(numbers) > 9 * len(mistyped) and len(np.unique(numbers)) > FEW_NUMBERS:
        row = mistyped[0]
        raise CorruptInputError(
            f'{table.place(row)}: column "{name}": {str(column.iloc[row])!r} is not a '
            f"number, as the {len(numbers)} others of the column are"
        )
    return True


def _check_numbers(table: Table, name: str) -> None:
    column, values = table.frame[name], table.numbers(name)
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
