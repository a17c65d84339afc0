"""How often intervals hold what they are about; `tests.benchmarks.claims` draws many more.

The bounds leave room for the simulation itself: of 4,000 draws at 95%, three standard errors are
one point.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from regrun.analysis.statistics import mean_interval
from tests.support.split_draws import error_rates_of_splits, expected_error_rate

Values = NDArray[np.float64]


def holds(values: Values, truth: float, scale: str, overlap: float = 0.0) -> bool:
    interval = mean_interval(values.tolist(), scale, overlap)  # type: ignore[arg-type]
    return (
        interval.low is not None
        and interval.high is not None
        and (interval.low <= truth <= interval.high)
    )


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("n", [3, 5, 10, 20])
def test_losses_spread_over_decades_are_covered(sigma: float, n: int) -> None:
    draws = np.exp(np.random.default_rng(n).normal(0, sigma, size=(4000, n)))
    covered = np.mean([holds(values, 1.0, "log") for values in draws])
    assert 0.94 <= covered <= 0.96


def test_the_linear_interval_of_such_losses_covers_far_less() -> None:
    """What the scale is for: the arithmetic mean of a log-normal is exp(σ²/2)."""
    draws = np.exp(np.random.default_rng(0).normal(0, 2, size=(1000, 5)))
    assert np.mean([holds(values, np.exp(2.0), "linear") for values in draws]) < 0.7


@pytest.mark.parametrize("n", [3, 5, 10, 20])
@pytest.mark.parametrize(("mean", "spread"), [(0.5, 0.3), (0.9, 0.3), (0.98, 0.4)])
def test_accuracies_near_1_are_covered(n: int, mean: float, spread: float) -> None:
    """Log odds vary between replicates, and 1,000 test examples are counted."""
    rng = np.random.default_rng(n)
    odds = rng.normal(np.log(mean / (1 - mean)), spread, size=(4000, n))
    shares = rng.binomial(1000, 1 / (1 + np.exp(-odds))) / 1000
    truth = float((1 / (1 + np.exp(-rng.normal(np.log(mean / (1 - mean)), spread, 10**6)))).mean())
    covered = np.mean([holds(values, truth, "fraction") for values in shares])
    assert 0.93 <= covered <= 0.98


def test_over_splits_the_interval_holds_the_expected_error_of_new_data() -> None:
    """Data sets of 300 from the digits, five splits of each: the claim is about the method."""
    truth = expected_error_rate(np.random.default_rng(0), 2000)
    rng = np.random.default_rng(1)
    covered = one_split = 0
    for _ in range(300):
        rates, overlap = error_rates_of_splits(rng, splits=5)
        covered += holds(rates, truth, "fraction", overlap)
        one_split += holds(rates, truth, "fraction")
    assert covered >= 0.9 * 300
    assert one_split < covered
