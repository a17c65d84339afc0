"""Independent references: scipy.stats (the code uses scipy.special), and examples by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.analysis.statistics import (
    holm,
    indistinguishable_from_best,
    mean_interval,
    paired_difference,
)

stats = pytest.importorskip("scipy.stats")

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
samples = st.lists(numbers, min_size=2, max_size=12)


@settings(deadline=None)
@given(samples)
def test_the_interval_is_the_one_of_scipy_stats(values: list[float]) -> None:
    interval = mean_interval(values)
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(sum(values) / len(values), abs=1e-6)
    if len(set(values)) > 1:
        low, high = stats.t.interval(
            0.95, len(values) - 1, loc=interval.mean, scale=stats.sem(values)
        )
        assert (interval.low, interval.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_the_interval_of_three_known_values_by_hand() -> None:
    # s = 1, n = 3, t(2, 0.975) = 4.302653 from any printed table.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high is not None
    assert interval.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)


def test_one_value_has_no_interval_rather_than_a_width_of_zero() -> None:
    interval = mean_interval([5.0])
    assert (interval.mean, interval.low, interval.high, interval.n) == (5.0, None, None, 1)


def test_huge_losses_do_not_overflow() -> None:
    interval = mean_interval([1e200, 3e200])
    assert interval.mean == pytest.approx(2e200)
    assert interval.high is not None
    assert math.isfinite(interval.high)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


@settings(deadline=None)
@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=10))
def test_the_paired_difference_is_the_paired_t_test_of_scipy(
    pairs: list[tuple[float, float]],
) -> None:
    a = {seed: pair[0] for seed, pair in enumerate(pairs)}
    b = {seed: pair[1] for seed, pair in enumerate(pairs)}
    ours = paired_difference(a, b)
    differences = [x - y for x, y in pairs]
    if max(differences) - min(differences) < 1e-2:
        return  # scipy warns of a loss of precision; the exact cases have their own test
    theirs = stats.ttest_rel(list(a.values()), list(b.values()))
    bounds = theirs.confidence_interval()
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-4, abs=1e-12)
    assert ours.low == pytest.approx(bounds.low, rel=1e-5, abs=1e-5)
    assert ours.high == pytest.approx(bounds.high, rel=1e-5, abs=1e-5)


@settings(deadline=None)
@given(samples, samples)
def test_swapping_the_sides_turns_the_difference_round(a: list[float], b: list[float]) -> None:
    first = paired_difference(dict(enumerate(a)), dict(enumerate(b)))
    second = paired_difference(dict(enumerate(b)), dict(enumerate(a)))
    assert first.mean == pytest.approx(-second.mean)
    assert first.p == pytest.approx(second.p)


def test_only_shared_seeds_count() -> None:
    difference = paired_difference({0: 1.0, 1: 2.0, 9: 100.0}, {0: 0.5, 1: 1.0, 8: -100.0})
    assert difference.n == 2
    assert difference.mean == pytest.approx(0.75)


def test_fewer_than_two_shared_seeds_allow_no_statement() -> None:
    one = paired_difference({0: 1.0}, {0: 0.5})
    assert (one.mean, one.low, one.high, one.p, one.n) == (0.5, None, None, None, 1)
    none = paired_difference({0: 1.0}, {1: 0.5})
    assert math.isnan(none.mean)
    assert (none.p, none.n) == (None, 0)


def test_equal_values_have_p_1_and_a_constant_difference_has_p_0() -> None:
    same = {0: 1.0, 1: 2.0}
    assert paired_difference(same, same).p == 1.0
    assert paired_difference({0: 1.5, 1: 2.5}, same).p == 0.0


def test_holm_by_hand() -> None:
    # Sorted: .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 .04, made monotone: .02 .03 .06 .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


probabilities = st.lists(st.floats(0, 1), max_size=12)


@settings(deadline=None)
@given(probabilities)
def test_holm_keeps_the_order_and_lies_between_the_raw_value_and_bonferroni(
    p_values: list[float],
) -> None:
    adjusted = holm(p_values)
    for raw, value in zip(p_values, adjusted, strict=True):
        assert raw <= value <= 1.0
    assert sorted(adjusted) == [value for _, value in sorted(zip(p_values, adjusted, strict=True))]
    if p_values:
        assert min(adjusted) == pytest.approx(min(1.0, min(p_values) * len(p_values)))


def test_a_clear_winner_stands_alone() -> None:
    noise = [0.01, -0.02, 0.015, 0.0, -0.005]
    good = {seed: 1.0 + value for seed, value in enumerate(noise)}
    bad = {seed: 5.0 - value for seed, value in enumerate(noise)}
    assert indistinguishable_from_best([bad, good]) == [1]
    assert indistinguishable_from_best([bad, good], "maximize") == [0]


def test_no_winner_when_the_interval_of_the_difference_holds_0() -> None:
    a = {0: 1.0, 1: 2.0, 2: 3.0}
    b = {0: 1.1, 1: 1.8, 2: 3.3}
    difference = paired_difference(a, b)
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low < 0 < difference.high
    assert indistinguishable_from_best([b, a]) == [1, 0]


def test_a_cell_with_one_seed_is_not_distinguishable_from_the_best() -> None:
    assert indistinguishable_from_best([{0: 1.0, 1: 1.1}, {0: 50.0}]) == [0, 1]


def test_empty_cells_are_left_out() -> None:
    assert indistinguishable_from_best([{}, {0: 1.0}]) == [1]
    assert indistinguishable_from_best([{}, {}]) == []


def test_holm_is_applied_a_difference_that_passes_alone_fails_among_many() -> None:
    best = dict.fromkeys(range(6), 0.0)
    bumps = [0.2, 0.9, 0.1, 0.8, 0.0, 1.0]
    near = dict(enumerate(bumps))
    p = stats.ttest_1samp(bumps, 0).pvalue
    assert 0.05 / 4 < p < 0.05
    assert indistinguishable_from_best([best, near]) == [0]
    assert indistinguishable_from_best([best, near, near, near, near]) == [0, 1, 2, 3, 4]
