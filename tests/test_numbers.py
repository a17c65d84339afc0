"""Numbers and values as they are shown."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.numbers import interval, number, ratio
from regrun.results import Difference, Estimate
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


@pytest.mark.parametrize(
    ("low", "mean", "high", "text"),
    [
        (0.4812, 0.5234, 0.5711, "0.523 [0.481, 0.571]"),
        (2.1e-7, 1.42e-6, 9.3e-6, "1.4e-06 [2.1e-07, 9.3e-06]"),
        (0.134, 0.18, 0.261, "0.180 [0.134, 0.261]"),
        (0.0117, 0.0284, 0.061, "0.028 [0.012, 0.061]"),
        (1093.0, 1519.0, 2119.0, "1520 [1090, 2120]"),
        (330.0, 700.0, 900.0, "700 [330, 900]"),
        (0.9634, 0.9712, 0.9775, "0.9712 [0.9634, 0.9775]"),
    ],
)
def test_an_interval_that_is_not_symmetric_has_both_its_bounds(
    low: float, mean: float, high: float, text: str
) -> None:
    assert interval(Estimate(mean=mean, low=low, high=high, n=3, scale="log")) == text


def test_a_ratio_is_a_factor() -> None:
    factor = Difference(mean=0.62, low=0.55, high=0.7, p=0.01, n=5, scale="log")
    assert ratio(factor) == "0.620 × [0.550, 0.700]"
    assert ratio(Difference(mean=-0.5, low=-0.6, high=-0.4, p=0.01, n=5)) == "-0.50 ± 0.10"


@settings(deadline=None)
@given(st.floats(1e-9, 1e9), st.floats(1.001, 1e3))
def test_no_bound_of_a_positive_number_is_printed_as_negative(mean: float, factor: float) -> None:
    found = Estimate(mean=mean, low=mean / factor, high=mean * factor, n=3, scale="log")
    printed = [float(each) for each in re.findall(r"[-+.e\d]+", interval(found))]
    assert len(printed) == 3
    assert 0 <= printed[1] <= printed[0] <= printed[2]


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
