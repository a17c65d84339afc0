"""A regularization path as CSV."""

from __future__ import annotations

import csv
import io

import numpy as np

from regrun.analysis.path import path_csv
from tests.support.paths import a_path


def test_the_table_has_a_line_per_strength_and_a_column_per_coefficient_of_each_output() -> None:
    names = {"feature_names": ["a", "b, c"]}
    made = a_path(features=2, outputs=2, number=3).model_copy(update=names)
    coefficients = np.asarray(made.coefficients)
    header, *rows = csv.reader(io.StringIO(path_csv(made)))
    assert header == [
        *("strength", "nonzeros", "train/loss", "test/loss", "cv/loss", "cv/standard_error"),
        *("a[0]", "b, c[0]", "a[1]", "b, c[1]"),
    ]
    assert [float(row[0]) for row in rows] == made.strengths
    assert [float(row[8]) for row in rows] == coefficients[:, 1, 0].tolist()
