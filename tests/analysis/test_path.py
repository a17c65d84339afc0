"""A regularization path as CSV."""

from __future__ import annotations

import csv
import io

import numpy as np

from regrun.analysis.path import path_csv
from regrun.results import BestStrength, PathResult


def a_path(features: int = 3, outputs: int = 1, number: int = 5, ratio: float = 1e-2) -> PathResult:
    draw = np.random.default_rng(features)
    shape = (number, features) if outputs == 1 else (number, outputs, features)
    coefficients = draw.normal(size=shape)
    coefficients[0] = 0
    losses = draw.random(number)
    strengths = np.geomspace(3, 3 * ratio, number).tolist()
    return PathResult(
        path_dir="runs/some/path",
        strengths=strengths,
        coefficients=coefficients.tolist(),
        intercepts=[0.0] * number,
        nonzeros=np.count_nonzero(coefficients.reshape(number, -1), axis=1).tolist(),
        feature_names=[f"feature {index} of a long name" for index in range(features)],
        metrics={
            "train/loss": losses.tolist(),
            "test/loss": (losses + 1).tolist(),
            "cv/loss": (losses + 0.5).tolist(),
            "cv/standard_error": (0.1 * losses).tolist(),
        },
        best=BestStrength(strength=strengths[2], one_standard_error=strengths[1]),
        converged=True,
    )


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
