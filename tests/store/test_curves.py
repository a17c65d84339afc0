"""Evaluations of many members as one table of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from regrun.store.curves import Curves, curves_of

FINITE = st.floats(allow_nan=False, allow_infinity=False)
METRICS = st.dictionaries(st.sampled_from(["train/loss", "test/loss", "lr", "ema/loss"]), FINITE)


@given(st.lists(METRICS, max_size=8))
def test_rows_come_back_in_their_order_whatever_they_were_measured_by(
    metrics: list[dict[str, Any]],
) -> None:
    rows = [{"epoch": n, "step": 4 * n, **own} for n, own in enumerate(metrics)]
    times = [0.5 * n for n in range(len(rows))]
    curves = list(curves_of(rows, times))
    assert [row for part in curves for row in part.rows(0)] == rows
    assert [list(row) for part in curves for row in part.rows(0)] == [list(row) for row in rows]
    assert [time for part in curves for time in part.wall_times] == times
    assert [part.rows(0, slice(-1, None)) for part in curves] == [
        part.rows(0)[-1:] for part in curves
    ]


def test_rows_alike_make_one_table() -> None:
    rows = [{"epoch": n, "step": n, "lr": 0.1} for n in range(3)]
    rows += [{"epoch": n, "step": n, "lr": 0.1, "swa/loss": 2.0} for n in range(3, 5)]
    assert [part.values.shape for part in curves_of(rows, [0.0] * 5)] == [(1, 3, 1), (1, 2, 2)]


def test_null_is_not_a_number() -> None:
    (part,) = curves_of([{"epoch": 1, "step": 4, "lr": None}], [0.0])
    assert np.isnan(part.values).all()


def test_each_run_has_its_own_values() -> None:
    values = np.arange(12.0).reshape(3, 2, 2)
    curves = Curves(("a", "b"), [1, 2], [5, 10], [0.0, 1.0], values)
    assert curves.rows(1) == [
        {"epoch": 1, "step": 5, "a": 4.0, "b": 5.0},
        {"epoch": 2, "step": 10, "a": 6.0, "b": 7.0},
    ]
    assert curves.rows(2, slice(-1, None)) == [{"epoch": 2, "step": 10, "a": 10.0, "b": 11.0}]
