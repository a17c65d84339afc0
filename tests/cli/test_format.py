"""Numbers and values as they are shown."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.cli.format import interval, number
from regrun.results import Estimate
from regrun.settings import format_value


@pytest.mark.parametrize(
    ("given_number", "text"),
    [(0.5, "0.5"), (1234567.0, "1.235e+06"), (3, "3"), (None, "–"), (math.inf, "inf"), (True, "–")],
)
def test_numbers_have_four_digits(given_number: float | None, text: str) -> None:
    assert number(given_number) == text


@pytest.mark.parametrize(
    ("mean", "half", "text"),
    [
        (0.5234, 0.0312, "0.523 ± 0.031"),
        (171.23, 7.5, "171.2 ± 7.5"),
        (171.23, 75.0, "171 ± 75"),
        (0.0, 0.02, "0.000 ± 0.020"),
        (1.0, 0.0, "1 ± 0"),
        (3.21e-9, 1.5e-10, "3.21e-09 ± 1.5e-10"),
        (5.0, None, "5"),
    ],
)
def test_the_mean_has_as_many_places_as_its_uncertainty(
    mean: float, half: float | None, text: str
) -> None:
    low, high = (None, None) if half is None else (mean - half, mean + half)
    assert interval(Estimate(mean=mean, low=low, high=high, n=3)) == text


def test_no_value_is_a_dash() -> None:
    assert interval(None) == "–"


@settings(deadline=None)
@given(st.floats(-1e12, 1e12), st.floats(1e-6, 1e6))
def test_what_is_printed_is_right_to_its_last_digit(mean: float, ratio: float) -> None:
    half = ratio * (abs(mean) + 1e-9)
    high = mean + half
    text = interval(Estimate(mean=mean, low=mean - half, high=high, n=5))
    printed_mean, printed_half = (float(part) for part in re.split(" ± ", text))
    assert printed_half == pytest.approx(high - mean, rel=0.06, abs=1e-12)
    assert abs(printed_mean - mean) <= 0.06 * (high - mean)


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1e-4, "0.0001"),
        ([256, 256], "[256, 256]"),
        ("sgd", "sgd"),
        ({"type": "l1", "strength": 0.1}, "{type: l1, strength: 0.1}"),
        ((0.9, 0.999), "[0.9, 0.999]"),
    ],
)
def test_settings_look_as_in_yaml(setting: object, text: str) -> None:
    assert format_value(setting) == text
