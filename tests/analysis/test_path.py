"""A regularization path as CSV and as pictures."""

from __future__ import annotations

import csv
import io
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from regrun.analysis.path import apart, path_csv, path_pictures
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


@pytest.mark.parametrize(
    "made",
    [
        a_path(),
        a_path(features=25),
        a_path(features=4, outputs=3),
        a_path(number=3, ratio=0.9),
        a_path(ratio=1e-9),
        a_path().model_copy(update={"coefficients": [[0.0, 0.0, 0.0]] * 5, "nonzeros": [0] * 5}),
    ],
)
def test_both_pictures_are_drawn_without_a_warning_and_always_alike(made: PathResult) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = path_pictures(made)
    assert pictures["png"].startswith(b"\x89PNG")
    assert b"</svg>" in pictures["svg"]
    assert path_pictures(made) == pictures


def test_a_picture_follows_its_path() -> None:
    made = a_path()
    best = made.best.model_copy(update={"strength": made.strengths[3]})
    other = made.model_copy(update={"best": best})
    first, second = path_pictures(made), path_pictures(other)
    assert first["svg"] != second["svg"]
    assert first["png"] != second["png"]


heights = st.lists(st.floats(-10, 10), min_size=1, max_size=8).map(np.asarray)


@given(heights, st.floats(0.01, 3))
def test_labels_are_apart_and_in_order(wanted: np.ndarray, gap: float) -> None:
    found = apart(wanted, gap)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(found[order]) >= gap - 1e-9).all()
    assert found.mean() == pytest.approx(wanted.mean(), abs=1e-9)


def test_labels_move_as_little_as_they_can() -> None:
    wanted, gap = np.asarray([0.0, 3.0, 0.1, 0.3, 2.9]), 0.5
    order = np.argsort(wanted)
    apartness = [
        {"type": "ineq", "fun": lambda x, i=i, j=j: x[j] - x[i] - gap} for i, j in pairwise(order)
    ]
    best = minimize(lambda x: ((x - wanted) ** 2).sum(), wanted, constraints=apartness)
    np.testing.assert_allclose(apart(wanted, gap), best.x, atol=1e-5)
    np.testing.assert_array_equal(apart(wanted, 0.01), wanted)
