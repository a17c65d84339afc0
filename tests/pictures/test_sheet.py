"""Labels that are moved apart."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from regrun.pictures.sheet import apart

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
