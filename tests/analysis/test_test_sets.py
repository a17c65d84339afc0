"""Sampling errors of a test set: against bootstraps and statsmodels; coverage by simulation."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regrun.analysis.test_sets import (
    binomial_error,
    combine,
    contrast_sampling_error,
    mcnemar,
    on_one_test_set,
    paired_sampling_error,
    sampling_error,
)
from regrun.store import reading

stats = pytest.importorskip("scipy.stats")

Array = NDArray[np.float64]

EFFECTS = {
    "seeds": (1.0, 0.0, 0.0),
    "examples": (0.0, 1.0, 0.0),
    "both alike": (0.1, 1.0, 0.0),
    "interactions": (0.0, 0.0, 1.0),
    "all": (0.1, 1.0, 1.0),
    "mostly seeds": (0.3, 1.0, 0.5),
}
"""Standard deviations of replicate, example and their interaction."""


def crossed(rng: np.random.Generator, effects: tuple[float, ...], runs: int, count: int) -> Array:
    """ℓᵢⱼ − μ = sᵢ + eⱼ + γᵢⱼ, (R, N)."""
    seed, example, interaction = effects
    both = interaction * rng.normal(size=(runs, count))
    return seed * rng.normal(size=(runs, 1)) + example * rng.normal(size=count) + both


def skewed(runs: int = 4, count: int = 300) -> tuple[Array, Array]:
    """Losses as of two settings: skewed, alike on the same examples, with unequal replicates."""
    rng = np.random.default_rng(3)
    a, b = (crossed(rng, (0.3, 0.5, 0.4), runs, count) for _ in range(2))
    shared = rng.normal(size=count)
    return np.exp(a + shared), np.exp(b + shared - 0.2)


def log_mean(losses: Array) -> float:
    """The logarithm of the geometric mean over replicates."""
    return float(np.log(losses.mean(1)).mean())


def bootstrapped(statistic: object, count: int) -> float:
    """The standard error by drawing examples, the same of every replicate."""
    drawn = stats.bootstrap(
        (np.arange(count),), statistic, n_resamples=4000, vectorized=False, method="basic",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(drawn.standard_error)


def test_the_errors_are_those_of_a_bootstrap_over_examples() -> None:
    a, b = skewed()
    count = a.shape[1]
    found = {
        sampling_error(a): lambda rows: a[:, rows].mean(),
        sampling_error(a, relative=True): lambda rows: log_mean(a[:, rows]),
        paired_sampling_error(a, b): lambda rows: a[:, rows].mean() - b[:, rows].mean(),
        paired_sampling_error(a, b[:3], relative=True): lambda rows: (
            log_mean(a[:, rows]) - log_mean(b[:3, rows])
        ),
        contrast_sampling_error([a, b[:2]], [b, a[:3]]): lambda rows: (
            a[:, rows].mean() + b[:2, rows].mean() - b[:, rows].mean() - a[:3, rows].mean()
        ),
        contrast_sampling_error([a, b[:2]], [b, a[:3]], relative=True): lambda rows: (
            log_mean(a[:, rows]) + log_mean(b[:2, rows]) - log_mean(b[:, rows])
            - log_mean(a[:3, rows])
        ),
    }  # fmt: skip
    for error, statistic in found.items():
        assert error == pytest.approx(bootstrapped(statistic, count), rel=0.04)


def test_one_replicate_has_the_standard_error_of_scipy() -> None:
    a, b = (losses[:1] for losses in skewed())
    assert sampling_error(a) == pytest.approx(stats.sem(a[0]), rel=1e-12)
    assert sampling_error(a, relative=True) == pytest.approx(stats.sem(a[0]) / a.mean(), rel=1e-12)
    assert paired_sampling_error(a, b) == pytest.approx(stats.sem(a[0] - b[0]), rel=1e-12)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    a, b = skewed()
    apart = math.hypot(sampling_error(a), sampling_error(b))
    assert paired_sampling_error(a, b) < 0.8 * apart
    assert paired_sampling_error(a, a) == paired_sampling_error(a, a, relative=True) == 0
    one = paired_sampling_error(a, b, relative=True)
    assert paired_sampling_error(1e3 * a, 7 * b, relative=True) == pytest.approx(one, rel=1e-9)


def test_huge_losses_have_a_finite_error() -> None:
    a, _ = skewed()
    assert sampling_error(1e200 * a) == pytest.approx(1e200 * sampling_error(a), rel=1e-12)


@pytest.mark.parametrize("shape", [(3,), (0, 4), (2, 1), (2, 0), (1, 2, 3)])
def test_fewer_than_two_examples_have_no_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two examples"):
        sampling_error(np.ones(shape))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="4 and 5 examples cannot be paired"):
        paired_sampling_error(np.ones((2, 4)), np.ones((2, 5)))
    with pytest.raises(ValueError, match="not positive"):
        sampling_error(np.zeros((2, 4)), relative=True)
    with pytest.raises(ValueError, match="4 and 5 examples cannot be paired"):
        mcnemar(np.ones(4, bool), np.ones(5, bool))


def test_a_combined_interval_has_the_quantile_of_cochran() -> None:
    for seed, seed_df, example, example_df in [(1, 2, 0.5, 99), (0.01, 1, 2, 30), (3, 4, 3, 9)]:
        error, df = combine(seed, seed_df, example, example_df)
        quantiles = stats.t.ppf(0.975, [seed_df, example_df])
        expected = np.average(quantiles, weights=[seed**2, example**2])
        assert error == pytest.approx(math.sqrt(seed**2 + example**2), rel=1e-12)
        assert stats.t.ppf(0.975, df) == pytest.approx(expected, rel=1e-9)
        assert seed_df < df < example_df


def test_a_combination_with_nothing_is_the_other() -> None:
    assert combine(0.5, 4, 0, 99) == pytest.approx((0.5, 4))
    assert combine(0, 4, 0.5, 99) == pytest.approx((0.5, 99))
    assert combine(0, 4, 0, 99) == (0, 4)
    assert combine(0.5, 4, 1e-9, math.inf) == pytest.approx((0.5, 4))
    for degrees in ((0, 99), (4, 0)):
        with pytest.raises(ValueError, match="without degrees of freedom"):
            combine(0.5, degrees[0], 0.5, degrees[1])


@pytest.mark.parametrize("runs", [2, 3, 5, 10])
@pytest.mark.parametrize("name", EFFECTS)
def test_combined_intervals_cover_the_mean_over_seeds_and_examples(name: str, runs: int) -> None:
    """At least 93% within the noise of 2,000 draws; more where interactions count twice."""
    rng, draws, count, covered = np.random.default_rng(runs), 2000, 60, 0
    for _ in range(draws):
        losses = crossed(rng, EFFECTS[name], runs, count)
        seed_error = stats.sem(losses.mean(1))
        error, df = combine(seed_error, runs - 1, sampling_error(losses), count - 1)
        covered += abs(losses.mean()) <= stats.t.ppf(0.975, df) * error
    noise = 2.6 * math.sqrt(0.94 * 0.06 / draws)
    assert covered / draws > 0.94 - noise
    most = 0.97 if name in ("seeds", "examples") else 0.999
    assert covered / draws < most


def test_seeds_alone_do_not_cover_another_test_set() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(500):
        losses = crossed(rng, EFFECTS["all"], 5, 60)
        seed_error = stats.sem(losses.mean(1))
        covered += abs(losses.mean()) <= stats.t.ppf(0.975, 4) * seed_error
    assert covered / 500 < 0.9


@pytest.mark.parametrize("relative", [False, True])
def test_paired_intervals_of_two_settings_cover_their_difference(relative: bool) -> None:
    """Log-normal losses of settings that find the same examples hard: means e^0.4 apart."""
    rng, draws, runs, count, covered = np.random.default_rng(1), 1000, 4, 400, 0
    spread = 0.5
    for _ in range(draws):
        shared = rng.normal(size=count)
        a, b = (
            np.exp(shared + level + crossed(rng, (0.05, 0, spread), runs, count))
            for level in (0.0, 0.4)
        )
        scale = np.log if relative else np.asarray
        differences = scale(a.mean(1)) - scale(b.mean(1))
        example_error = paired_sampling_error(a, b, relative=relative)
        seed_error = stats.sem(differences)
        error, df = combine(seed_error, runs - 1, example_error, count - 1)
        mean = math.exp(0.5 * (1 + 0.05**2 + spread**2))
        truth = -0.4 if relative else mean * (1 - math.exp(0.4))
        covered += abs(differences.mean() - truth) <= stats.t.ppf(0.975, df) * error
    assert 0.925 < covered / draws < 0.985


@pytest.mark.parametrize("count", [36, 360, 10_000])
def test_the_binomial_error_is_that_of_the_examples_and_never_zero(count: int) -> None:
    for right in (count // 2, round(0.9 * count)):
        correct = (np.arange(count) < right)[None]
        assert binomial_error(right / count, count) == pytest.approx(
            sampling_error(correct), rel=4 / count**0.9
        )
    errors = [binomial_error(share, count) for share in (0, 0.1, 0.5, 0.9, 1)]
    assert errors == pytest.approx(errors[::-1], rel=1e-9)
    assert 0 < errors[0] < errors[1] < errors[2]


def test_the_binomial_error_of_all_right_covers_where_the_plain_one_is_certain() -> None:
    """The sum over all outcomes of 100 examples, at rates from 90 to 99.5%."""
    right = np.arange(101)
    errors = {
        "plain": np.sqrt(right / 100 * (1 - right / 100) / 100),
        "ours": np.array([binomial_error(each / 100, 100) for each in right]),
    }
    worst = {
        name: min(
            stats.binom.pmf(right, 100, rate)[np.abs(right / 100 - rate) <= 1.96 * error].sum()
            for rate in np.linspace(0.9, 0.995, 40)
        )
        for name, error in errors.items()
    }
    assert worst["ours"] > 0.91
    assert worst["plain"] < 0.5


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_sum_of_binomial_coefficients(pairs: list[tuple[bool, bool]]) -> None:
    a, b = (np.array(each) for each in zip(*pairs, strict=True))
    found = mcnemar(a, b)
    only_a = sum(one and not other for one, other in pairs)
    only_b = sum(other and not one for one, other in pairs)
    count = only_a + only_b
    tail = sum(Fraction(math.comb(count, k), 2**count) for k in range(min(only_a, only_b) + 1))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p == pytest.approx(float(min(1, 2 * tail)), rel=1e-9)


def test_mcnemar_and_the_binomial_error_are_those_of_statsmodels() -> None:
    """Values of statsmodels 0.15: `mcnemar(exact=True)`, `proportion_confint("agresti_coull")`."""
    a = np.repeat([True, True, False, False], [794, 150, 86, 570])
    b = np.repeat([True, False, True, False], [794, 150, 86, 570])
    assert mcnemar(a, b) == pytest.approx((150, 86, 3.7159361395713866e-05), rel=1e-9)
    assert binomial_error(0, 36) == pytest.approx(0.03393662006814358, rel=1e-12)
    assert binomial_error(0.97, 100) == pytest.approx(0.020849815965305663, rel=1e-12)


def result(loss: list[float], correct: list[bool] | None, test_set: str) -> reading.TestExamples:
    return reading.TestExamples(
        np.array(loss, np.float32), None if correct is None else np.array(correct), test_set
    )


def test_replicates_are_taken_together_on_one_test_set_only() -> None:
    one = result([1, 2], [True, False], "x")
    same, other = result([3, 4], [True, True], "x"), result([3, 4], [True, True], "y")
    losses = on_one_test_set([one, same], "loss")
    correct = on_one_test_set([one, same], "accuracy")
    assert losses is not None and losses.tolist() == [[1, 2], [3, 4]]
    assert correct is not None and correct.tolist() == [[True, False], [True, True]]
    assert on_one_test_set([one, other], "loss") is None
    assert on_one_test_set([one, None], "loss") is None
    assert on_one_test_set([], "loss") is None
    unknown = result([1, 2], [True, False], "")
    assert on_one_test_set([unknown, unknown], "loss") is None
    numbers = result([1, 2], None, "x")
    assert on_one_test_set([numbers, numbers], "accuracy") is None
    assert on_one_test_set([numbers, numbers], "loss") is not None


def test_more_replicates_and_more_examples_lower_the_error() -> None:
    rng = np.random.default_rng(5)
    losses = crossed(rng, (0, 0.2, 1.0), 64, 3000)
    by_runs = [sampling_error(losses[:runs]) for runs in (1, 4, 16, 64)]
    by_count = [sampling_error(losses[:, :count]) for count in (30, 300, 3000)]
    for errors in (by_runs, by_count):
        assert all(later < earlier for earlier, later in pairwise(errors))
