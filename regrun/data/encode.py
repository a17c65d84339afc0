"""Columns of a table as features: numbers imputed, texts one-hot encoded.

Everything is learnt from the training rows alone. scikit-learn's ColumnTransformer is not used: it
hands columns over in another memory order, which changes the last bits of imputed means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regrun.data.csv_file import Table
from regrun.data.splits import Parts
from regrun.errors import ConfigError, CorruptInputError

if TYPE_CHECKING:
    import pandas as pd

MOST_CATEGORIES = 1000
"""A text column with more distinct values is an identifier, not a feature."""

FEW_NUMBERS = 20
"""A text column of mostly numbers, with more distinct ones than this, holds mistyped numbers."""

Matrix = NDArray[np.float64]


def encode_features(
    features: list[str], tables: list[Table], parts: Parts, missing: str
) -> tuple[list[Matrix], list[str], list[str]]:
    """Encode the feature columns: numeric ones first, then the categories of each text column.

    tables: with the test table, where there is one, into which `parts.test` then points. missing:
    ``refuse`` or how to impute numbers. Returns the features of each table, (N, D), the names of
    the D columns, and notes. Raises ConfigError for missing cells that are to be refused and for
    identifiers, CorruptInputError for infinite cells and mistyped numbers.
    """
    texts = [name for name in features if _is_text(tables[0], name)]
    numbers = [name for name in features if name not in texts]
    _check_empty(tables[0], features)
    for table in tables:
        if missing == "refuse":
            _check_missing(table, features)
        for name in numbers:
            _check_numbers(table, name)

    matrices, names = [_numbers(table, numbers) for table in tables], numbers
    notes: list[str] = []
    if numbers and missing != "refuse":
        matrices, notes = _impute(matrices, parts.train.numpy(), numbers, missing)
    if texts:
        frames = [table.frame[texts] for table in tables]
        encoded, categories, more = _one_hot(frames, parts)
        matrices = [np.hstack(each) for each in zip(matrices, encoded, strict=True)]
        names, notes = numbers + categories, notes + more
    return matrices, names, notes


def _numbers(table: Table, columns: list[str]) -> Matrix:
    # In C order, column by column: the order decides the last bits of a mean.
    values = np.empty((len(table.frame), len(columns)))
    for position, name in enumerate(columns):
        values[:, position] = table.numbers(name)
    return values


def _impute(
    matrices: list[Matrix], train: NDArray[np.int64], columns: list[str], strategy: str
) -> tuple[list[Matrix], list[str]]:
    """Fill the empty cells of each table; return notes too. train: rows of the first table."""
    from sklearn.impute import SimpleImputer

    values = matrices[0][train]
    imputer = SimpleImputer(strategy=strategy, keep_empty_features=True).fit(values)
    notes = [
        f'column "{name}": empty cells imputed by the {strategy} of the training rows'
        for name, cells in zip(columns, values.T, strict=True)
        if np.isnan(cells).any()
    ]
    return [np.asarray(imputer.transform(matrix)) for matrix in matrices], notes


def _one_hot(frames: list[pd.DataFrame], parts: Parts) -> tuple[list[Matrix], list[str], list[str]]:
    """Return a column of zeros and ones for each text of the training rows; names; notes."""
    from sklearn.preprocessing import OneHotEncoder

    train = frames[0].iloc[parts.train.numpy()]
    most_frequent = {name: _most_frequent(train[name]) for name in train}
    filled = [
        np.column_stack(
            [
                frame[name].astype(object).where(frame[name].notna(), text).astype(str)
                for name, text in most_frequent.items()
            ]
        ).astype(object)
        for frame in frames
    ]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    encoder.fit(filled[0][parts.train.numpy()])
    categories = dict(zip(most_frequent, encoder.categories_, strict=True))
    counts = ", ".join(f"{name} ({len(values)})" for name, values in categories.items())
    notes = [
        f"one-hot encoded: {counts}",
        *(
            f'column "{name}": empty cells imputed by the most frequent text, "{text}"'
            for name, text in most_frequent.items()
            if train[name].isna().any()
        ),
    ]
    held_out = filled[-1][parts.test.numpy()]
    if parts.validation is not None:
        held_out = np.vstack([filled[0][parts.validation.numpy()], held_out])
    for (name, known), values in zip(categories.items(), held_out.T, strict=True):
        new = values[~np.isin(values.astype(str), known.astype(str))]
        if len(new):
            notes.append(
                f'column "{name}": {len(new)} held-out rows with a text that no training row '
                f'has, such as "{new[0]}"; all zeros there'
            )
    names = [f"{name}={value}" for name, values in categories.items() for value in values]
    return [np.asarray(encoder.transform(texts)) for texts in filled], names, notes


def _most_frequent(column: pd.Series[str]) -> str:
    """Return the text that replaces empty cells. Raises ConfigError for an identifier."""
    values = column.dropna().astype(str)
    if values.nunique() > MOST_CATEGORIES:
        raise ConfigError.at(
            "dataset.ignore",
            f'column "{column.name}" holds {values.nunique():,} different texts, more than '
            f"{MOST_CATEGORIES:,}; leave it out by ignore: [{column.name}]",
        )
    return str(values.mode().iloc[0]) if len(values) else ""


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
    table.check_finite(name)


def _check_empty(table: Table, features: list[str]) -> None:
    for name in features:
        if table.frame[name].isna().all():
            raise ConfigError.at(
                "dataset.ignore",
                f'{table.path}: column "{name}" is empty; leave it out by ignore: [{name}]',
            )


def _check_missing(table: Table, features: list[str]) -> None:
    empty = table.frame[features].isna()
    with_gaps = [name for name in features if empty[name].any()]
    if with_gaps:
        first = int(np.flatnonzero(empty[with_gaps[0]])[0])
        raise ConfigError.at(
            "dataset.missing",
            f'refuse: column "{with_gaps[0]}" is empty at {table.place(first)} '
            f"({int(empty.to_numpy().sum())} empty cells in {len(with_gaps)} columns); impute them "
            "by mean, median or most_frequent",
        )
