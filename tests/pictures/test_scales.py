"""Places and ticks of axes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.pictures.scales import Strengths, round_logs
from regrun.pictures.style import tick_text
from regrun.pictures.subject import short_names


@pytest.mark.parametrize(
    ("values", "log", "zero"),
    [
        ([0, 0.25, 0.5], False, None),
        ([0, 0.1, 1, 10], True, 0.01),
        ([0, 0.1, 1000], True, 0.01),
        ([1, 2, 4, 16], True, None),
        ([0, 1], False, None),
        ([-1, 1, 100], False, None),
        ([5], False, None),
    ],
)
def test_strengths_that_grow_by_factors_are_logarithmic(
    values: list[float], log: bool, zero: float | None
) -> None:
    scale = Strengths(values)
    assert scale.is_log == log
    assert scale.zero == (None if zero is None else pytest.approx(zero))
    assert [scale.place(value) for value in values if value] == [v for v in values if v]


thousandths = st.integers(0, 10**9).map(lambda number: number / 1000)


@given(st.lists(thousandths, min_size=1, max_size=12, unique=True).map(sorted))
def test_every_value_stands_between_its_edges(values: list[float]) -> None:
    scale = Strengths(values)
    edges = scale.edges()
    places = [scale.place(value) for value in values]
    pairs = zip(edges[:-1], places, edges[1:], strict=True)
    assert all(low <= at <= high and low < high for low, at, high in pairs)


@given(st.floats(1e-12, 1e12), st.floats(1.0, 1e15))
def test_round_numbers_lie_within_and_are_few(low: float, factor: float) -> None:
    found = round_logs(low, low * factor)
    assert 1 <= len(found) <= 9
    slack = 1 + 1e-8
    assert all(low / slack <= each <= low * factor * slack for each in found)
    if factor >= 20:
        powers = [math.log10(each) for each in found]
        assert any(power == pytest.approx(round(power)) for power in powers)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (0.30000000000000004, "0.3"), (-0.5, "−0.5"), (1e-11, "10⁻¹¹"),
        (3e-7, "3·10⁻⁷"), (1e5, "10⁵"), (-2e6, "−2·10⁶"), (-1e6, "−10⁶"), (12345.0, "12345"),
    ],
)  # fmt: skip
def test_ticks_are_written_as_people_write_them(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_keys_are_as_short_as_they_can_be_and_differ() -> None:
    keys = ["optimizer.lr", "penalty.0.strength", "penalty.1.strength", "model.name", "name"]
    assert short_names(keys) == {
        "optimizer.lr": "lr",
        "penalty.0.strength": "0.strength",
        "penalty.1.strength": "1.strength",
        "model.name": "model.name",
        "name": "name",
    }
