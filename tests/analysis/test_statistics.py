"""Independent references: scipy.stats (the code uses scipy.special), and examples by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regrun.analysis.statistics import agree, holm, mean_interval, paired_difference
from regrun.results import Scale

stats = pytest.importorskip("scipy.stats")

numbers = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))
samples = st.lists(numbers, min_size=2, max_size=12)


@settings(deadline=None)
@given(samples)
def test_the_interval_is_the_one_of_scipy_stats(values: list[float]) -> None:
    interval = mean_interval(values)
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(sum(values) / len(values), abs=1e-6)
    if not agree(values):
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
    if agree([*a.values()]) and agree([*b.values()]):
        assert ours.p is None
        return
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


positive = st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=12)


@settings(deadline=None)
@given(positive)
def test_on_a_log_scale_it_is_scipys_interval_of_the_logarithms(values: list[float]) -> None:
    logs = np.log(values)
    interval = mean_interval(values, "log")
    assert interval.mean == pytest.approx(stats.gmean(values), rel=1e-9)
    if logs.max() - logs.min() > 1e-3:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=logs.mean(), scale=stats.sem(logs))
        assert interval.scale == "log"
        assert math.log(interval.low or 0) == pytest.approx(low, rel=1e-6, abs=1e-6)
        assert interval.high == pytest.approx(math.exp(min(high, 709.0)), rel=1e-6) or high > 709
        assert (interval.low or 0) > 0


def test_a_loss_of_exactly_0_has_no_logarithm_and_no_negative_bound() -> None:
    interval = mean_interval([0.0, 0.0, 3.0], "log")
    assert (interval.mean, interval.scale, interval.low) == (1.0, "linear", 0.0)
    assert interval.high == pytest.approx(1 + 4.302653, rel=1e-6)


def test_the_interval_of_a_share_is_that_of_its_log_odds_by_hand() -> None:
    values = [0.90, 0.94, 0.98]
    # Mean .94, s = .04, t(2, .975) = 4.302653; d logit(p) / dp = 1 / (p (1 − p)).
    half = 4.302653 * 0.04 / math.sqrt(3) / (0.94 * 0.06)
    odds = math.log(0.94 / 0.06)
    interval = mean_interval(values, "fraction")
    assert interval.mean == pytest.approx(0.94)
    assert interval.low == pytest.approx(1 / (1 + math.exp(-(odds - half))), rel=1e-6)
    assert interval.high == pytest.approx(1 / (1 + math.exp(-(odds + half))), rel=1e-6)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_the_interval_of_shares_stays_between_0_and_1_and_holds_their_mean(
    values: list[float],
) -> None:
    interval = mean_interval(values, "fraction")
    if interval.low is not None and interval.high is not None:
        assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    else:
        assert agree(values)


@pytest.mark.parametrize("value", [0.3, 1.0])
@pytest.mark.parametrize("scale", ["linear", "log", "fraction"])
def test_values_that_agree_to_rounding_have_no_interval(scale: Scale, value: float) -> None:
    interval = mean_interval([value, value - 1e-12, value - 2e-12], scale)
    assert (interval.low, interval.high) == (None, None)
    assert interval.mean == pytest.approx(value)


@pytest.mark.parametrize("scale", ["linear", "log", "fraction"])
def test_another_source_of_error_widens_an_interval_as_variances_add(scale: Scale) -> None:
    values = [0.5, 0.6, 0.55]
    plain = mean_interval(values, scale)

    def double(error: float, df: float) -> tuple[float, float]:
        return error * math.sqrt(2), df

    def place(bound: float | None) -> float:
        assert bound is not None
        return {"linear": bound, "log": math.log(bound)}.get(scale, math.log(bound / (1 - bound)))

    wide = mean_interval(values, scale, add_errors=double)
    assert wide.mean == plain.mean
    half, wider = place(plain.high) - place(plain.mean), place(wide.high) - place(wide.mean)
    assert wider / half == pytest.approx(math.sqrt(2))


def test_a_difference_with_another_source_of_error_is_less_certain() -> None:
    a, b = {0: 1.0, 1: 2.0, 2: 3.5}, {0: 2.0, 1: 3.5, 2: 4.0}
    plain = paired_difference(a, b)
    wide = paired_difference(a, b, add_errors=lambda error, df: (error + 1.0, df))
    assert wide.mean == plain.mean
    assert plain.p is not None and wide.p is not None
    assert wide.p > plain.p


def test_overlapping_draws_widen_the_interval_as_nadeau_and_bengio_do() -> None:
    values = [1.0, 2.0, 3.0]
    plain, wide = mean_interval(values), mean_interval(values, overlap=0.25)
    assert plain.high is not None
    assert wide.high is not None
    # s² (1/3 + 1/4) instead of s² / 3.
    assert (wide.high - 2) / (plain.high - 2) == pytest.approx(math.sqrt((1 / 3 + 1 / 4) * 3))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=3, max_size=9))
def test_a_ratio_is_the_paired_t_test_of_the_logarithms(pairs: list[tuple[float, float]]) -> None:
    a = {seed: pair[0] for seed, pair in enumerate(pairs)}
    b = {seed: pair[1] for seed, pair in enumerate(pairs)}
    logs = np.log([x / y for x, y in pairs])
    if logs.max() - logs.min() < 1e-2:
        return
    ours = paired_difference(a, b, "log")
    theirs = stats.ttest_1samp(logs, 0.0)
    bounds = theirs.confidence_interval()
    assert (ours.scale, ours.none) == ("log", 1.0)
    assert ours.mean == pytest.approx(math.exp(logs.mean()), rel=1e-6)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-4, abs=1e-12)
    assert math.log(ours.low or 0) == pytest.approx(bounds.low, rel=1e-4, abs=1e-4)


def test_nothing_is_said_of_a_difference_between_values_that_never_vary() -> None:
    difference = paired_difference({0: 1.0, 1: 1.0, 2: 1.0}, {0: 2.0, 1: 2.0, 2: 2.0 + 1e-13})
    assert difference.mean == pytest.approx(-1.0)
    assert (difference.low, difference.high, difference.p) == (None, None, None)
