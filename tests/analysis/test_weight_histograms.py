"""Histograms pooled over runs: the same entries, counted together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regrun.analysis.weight_histograms import Pool, over_training, pool
from regrun.histograms import BINS, Histogram, Histograms
from tests.support.histograms import histogram_of

DRAW = np.random.default_rng(3)
LOST = Histogram("weight", 0, 50, None, None, None, None, [0] * BINS)


def pooled(*histograms: Histogram) -> Pool:
    found = pool(histograms)
    assert found is not None
    return found


def test_that_of_one_run_is_as_it_was_counted() -> None:
    own = histogram_of(DRAW.normal(size=80))
    found = pooled(own)
    np.testing.assert_array_equal(found.edges, own.edges)
    np.testing.assert_array_equal(found.counts, own.counts)
    np.testing.assert_array_equal(found.table, np.c_[own.edges[:-1], own.edges[1:], own.counts])
    assert (found.zeros, found.size, found.sparsity) == (0, 80, 0.0)


def test_entries_of_several_runs_are_spread_evenly_within_their_bins() -> None:
    """As counting many evenly spaced points of every bin gives."""
    runs = [DRAW.normal(shift, 1, size=40) for shift in (0, 0.3, 2)]
    histograms = [histogram_of(entries) for entries in runs]
    found = pooled(*histograms)
    points, fine = [], (np.arange(2000) + 0.5) / 2000
    for each in histograms:
        for low, high, count in zip(each.edges[:-1], each.edges[1:], each.counts, strict=True):
            points += [low + (high - low) * fine] * count
    expected = np.histogram(np.concatenate(points), found.edges)[0] / 2000
    np.testing.assert_allclose(found.counts, expected, atol=0.1)
    assert found.counts.sum() == pytest.approx(120)
    assert found.size == 120
    assert (np.diff(found.edges) > 0).all()


def test_the_standard_deviation_is_that_of_all_entries() -> None:
    runs = [DRAW.normal(shift, 1 + shift, size=30 + 5 * shift) for shift in (0, 1, 7)]
    found = pooled(*map(histogram_of, runs))
    assert found.std == pytest.approx(np.concatenate(runs).std())
    assert np.isnan(pooled(replace(histogram_of(runs[0]), std=None)).std)


def test_exact_zeros_can_be_left_out() -> None:
    entries = np.array([-1, 0, 0, 0, 0.5, 2, 0])
    found = pool([histogram_of(entries), histogram_of(np.zeros(4))], zeros=False)
    assert found is not None
    assert found.counts.sum() == pytest.approx(3)
    assert (found.zeros, found.size) == (8, 11)


def test_a_single_value_is_a_bin_without_a_width() -> None:
    zero = histogram_of(np.zeros(9))
    for found, size in ((pooled(zero), 9), (pooled(zero, zero, LOST), 68)):
        assert found.edges.tolist() == [0, 0]
        assert found.counts.tolist() == [found.zeros]
        assert found.size == size
        assert found.quantiles([0.1, 0.9]).tolist() == [0, 0]


def test_a_single_value_among_others_stays_narrow() -> None:
    spread, zero = histogram_of(np.linspace(-1, 1, 31)), histogram_of(np.zeros(1000))
    found = pooled(spread, zero)
    near = (found.edges[:-1] >= -0.001) & (found.edges[1:] <= 0.001)
    assert found.counts[near].sum() == pytest.approx(1000, abs=1)
    assert found.sparsity == pytest.approx((1000 + spread.zeros) / 1031)


def test_without_a_finite_entry_there_is_nothing() -> None:
    assert pool([LOST, LOST]) is None
    assert pooled(LOST, histogram_of(np.ones(2))).size == 52


def test_quantiles_are_those_of_evenly_spread_entries() -> None:
    found = pooled(histogram_of(np.linspace(0, 3, 3001)))
    np.testing.assert_allclose(found.quantiles([0, 0.25, 0.5, 1]), [0, 0.75, 1.5, 3], atol=0.01)


def counted(*epochs: int, **parameters: Histogram) -> list[Histograms]:
    return [Histograms(epoch, 5 * epoch, parameters) for epoch in epochs]


def test_runs_are_pooled_at_the_steps_that_all_have() -> None:
    one, other = histogram_of(DRAW.normal(size=6)), histogram_of(DRAW.normal(size=6))
    bias = replace(one, role="bias")
    found = over_training([counted(0, 2, 4, 5, a=one, b=bias), counted(0, 2, 3, 5, a=other)])
    assert found.keys() == {"a"}
    assert (found["a"].epochs, found["a"].steps) == ([0, 2, 5], [0, 10, 25])
    assert [each.size for each in found["a"].pools if each] == [12, 12, 12]
    alone = over_training([counted(0, 1, a=one, b=bias)])
    assert {name: each.role for name, each in alone.items()} == {"a": "weight", "b": "bias"}


@pytest.mark.parametrize("runs", [[], [[]], [counted(0, a=LOST), []], [counted(0), counted(1)]])
def test_without_a_common_step_there_is_nothing(runs: list[list[Histograms]]) -> None:
    assert over_training(runs) == {}
