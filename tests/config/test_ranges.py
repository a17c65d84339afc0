"""Ranges of values, and how other tools write them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regrun.config.overrides import parse_override
from regrun.config.ranges import expand_range, foreign_axis
from regrun.errors import ConfigError


@given(st.integers(-50, 50), st.integers(1, 60))
def test_integers_have_both_ends(low: int, size: int) -> None:
    assert expand_range(f"{low}..{low + size}") == list(range(low, low + size + 1))


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(2, 30))
def test_evenly_spaced_values_are_numpys(low: float, width: float, count: int) -> None:
    found = expand_range(f"{low!r}..{low + width!r}:{count}")
    assert found is not None
    np.testing.assert_allclose(found, np.linspace(low, low + width, count), atol=1e-9 * (1 + width))


@given(st.floats(1e-9, 1e3), st.floats(1.1, 1e6), st.integers(2, 30))
def test_values_on_a_log_scale_are_numpys(low: float, ratio: float, count: int) -> None:
    found = expand_range(f"{low!r}..{low * ratio!r}:log:{count}")
    assert found is not None
    np.testing.assert_allclose(found, np.geomspace(low, low * ratio, count), rtol=1e-9)


def test_round_values_are_written_round() -> None:
    assert expand_range("1e-5..1e-1:log:5") == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert expand_range("0..1:11") == [round(at / 10, 1) for at in range(11)]
    assert expand_range("16..64:4") == [16, 32, 48, 64]


@pytest.mark.parametrize("text", ["../data.csv", "a..b", "1.5", "..", "1..", 3, None, [1, 2]])
def test_anything_else_is_no_range(text: object) -> None:
    assert expand_range(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4..0", "must be below"),
        ("1..1:3", "must be below"),
        ("0.1..0.5", "write how many values, e.g. 0.1..0.5:5"),
        ("0..1:log:5", "above 0"),
        ("0..1:1", "needs 2 to"),
        ("0..1000000", "more than 10,000 values"),
    ],
)
def test_a_range_without_values_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        expand_range(text)
    with pytest.raises(ConfigError, match=message):
        parse_override(f"optimizer.lr={text}", 1, axes=True)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("range(0,5)", "0..4"),
        ("range(5)", "0..4"),
        ("range(0,10,2)", "0,2,4,6,8"),
        ("np.arange(3)", "0..2"),
        ("logspace(-4,-1,4)", "1e-4..1e-1:log:4"),
        ("np.linspace(0, 1, 5)", "0..1:5"),
        ("geomspace(0.001,0.1,3)", "0.001..0.1:log:3"),
        ("choice(a,b)", "a,b"),
        ("tune.grid_search([1, 2])", "1,2"),
    ],
)
def test_functions_of_other_tools_are_answered_with_an_axis(text: str, written: str) -> None:
    assert foreign_axis("optimizer.lr", text) == f"optimizer.lr={written}"
    with pytest.raises(ConfigError, match="write optimizer"):
        parse_override(f"optimizer.lr={text}", 1, axes=True)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("interval(0,1)", "uniform"),
        ("loguniform(1e-5,1e-1)", "log_uniform"),
        ("tune.randint(1, 9)", "int"),
    ],
)
def test_distributions_of_other_tools_are_answered_with_a_search(text: str, kind: str) -> None:
    found = foreign_axis("optimizer.lr", text)
    assert found is not None
    assert "sweep.search=random" in found
    assert f"{kind}: [" in found


def test_computed_values_are_finite() -> None:
    found = expand_range("1e-300..1e300:log:7")
    assert found is not None
    assert all(math.isfinite(value) for value in found)
