"""Histograms as they are stored: their edges, and what is wrong with a damaged one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from regrun.histograms import BINS, Histogram, bin_edges, parse_histograms
from tests.support.histograms import histogram_of

LARGEST = float(np.finfo(float).max)


@pytest.mark.parametrize(
    ("low", "high"),
    [(-1.0, 2.0), (0.1, 0.7), (-3e-9, 5e-4), (0.0, 0.0), (-2.5, -2.5), (-1e300, 3e299), (1e-40, 1)],
)
def test_edges_are_those_of_numpy(low: float, high: float) -> None:
    edges = bin_edges(np.array([low, 7.0]), np.array([high, 9.0]))
    np.testing.assert_array_equal(edges[0], np.histogram_bin_edges([low, high], BINS))
    np.testing.assert_array_equal(edges[1], np.linspace(7, 9, BINS + 1))


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-LARGEST, LARGEST),
        (LARGEST, LARGEST),
        (1e300, 1e300),
        (1.0, float(np.nextafter(1, 2))),
        (-5e-324, 1e-323),
    ],
)
def test_edges_rise_where_numpy_has_none(low: float, high: float) -> None:
    (edges,) = bin_edges(np.array([low]), np.array([high]))
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= low <= high <= edges[-1]


def stored(**changes: Any) -> dict[str, Any]:
    """Ten entries of a weight, as JSON has them."""
    counts = [0] * BINS
    counts[0], counts[20], counts[-1] = 4, 2, 3
    whole = {
        "role": "weight", "zeros": 2, "not_finite": 1, "low": -1.0, "high": 0.5, "mean": -0.2,
        "std": 0.4, "counts": counts,
    }  # fmt: skip
    return {**whole, **changes}


def line(**changes: Any) -> dict[str, Any]:
    return {"epoch": 1, "step": 4, "parameters": {"output.weight": stored(**changes)}}


def test_what_was_stored_comes_back() -> None:
    found = parse_histograms(line())
    assert (found.epoch, found.step) == (1, 4)
    histogram = found.parameters["output.weight"]
    assert histogram == Histogram(**stored())
    assert (histogram.size, histogram.sparsity) == (10, 0.2)
    np.testing.assert_array_equal(histogram.edges, np.linspace(-1, 0.5, BINS + 1))
    assert histogram.non_zeros == [4, *[0] * (BINS - 2), 3]


@pytest.mark.parametrize("entries", [[0.0, 0, 0], [-1.0, -0.5, 0, 0], [0.0, 3, 4], [-2.0, 0, 1, 2]])
def test_entries_other_than_zero_are_those_of_numpy(entries: list[float]) -> None:
    found = histogram_of(np.array(entries))
    others = [each for each in entries if each]
    assert found.non_zeros == np.histogram(others, found.edges)[0].tolist()


def test_a_parameter_without_finite_entries_has_edges_and_no_counts() -> None:
    nothing = dict.fromkeys(("low", "high", "mean", "std"))
    lost = parse_histograms(line(**nothing, zeros=0, not_finite=10, counts=[0] * BINS))
    histogram = lost.parameters["output.weight"]
    assert (histogram.size, histogram.sparsity, sum(histogram.counts)) == (10, 0.0, 0)
    np.testing.assert_array_equal(histogram.edges, np.linspace(-0.5, 0.5, BINS + 1))


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"role": "wieght"}, "role"),
        ({"zeros": -1}, "zeros"),
        ({"zeros": 2.0}, "zeros"),
        ({"zeros": 10}, "zeros"),
        ({"zeros": True}, "zeros"),
        ({"zeros": 3}, "zeros"),
        ({"low": 0.1, "high": 0.5}, "zeros"),
        ({"not_finite": None}, "not_finite"),
        ({"low": "-1"}, "low"),
        ({"low": None}, "low"),
        ({"low": 0.6}, "low"),
        ({"high": None}, "low"),
        ({"std": -0.1}, "std"),
        ({"counts": [0] * BINS}, "zeros"),
        ({"counts": [10]}, "counts"),
        ({"counts": [0.5] * BINS}, "counts"),
        ({"counts": [0] * BINS, "not_finite": 0, "zeros": 0}, "counts"),
        ({"more": 1}, "more"),
    ],
)
def test_a_damaged_histogram_is_named(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=rf"parameters\.output\.weight\.{place}"):
        parse_histograms(line(**changes))


@pytest.mark.parametrize("data", [[], None, 3, {}, {"epoch": 1, "step": 2}, {**line(), "a": 1}])
def test_what_is_no_line_of_histograms_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"^(the document|step|epoch|parameters|a): "):
        parse_histograms(data)
