"""How many replicates a comparison needs; the reference is statsmodels, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from regrun.analysis.power import replicates_for, replicates_to_settle


@pytest.mark.parametrize("effect", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.05, 0.005])
def test_the_number_is_the_one_of_scipys_noncentral_t(effect: float, alpha: float) -> None:
    def power(n: int) -> float:
        bound = stats.t.ppf(1 - alpha, n - 1)
        return float(stats.nct.sf(bound, n - 1, effect * np.sqrt(n)))

    found = replicates_for(effect, alpha)
    assert found is not None
    assert power(found) >= 0.8
    assert found == 2 or power(found - 1) < 0.8


def test_with_so_many_replicates_the_difference_is_found_four_times_in_five() -> None:
    n = replicates_for(0.8, 0.025)
    assert n is not None
    draws = np.random.default_rng(0).normal(0.8, 1.0, size=(4000, n))
    found = (stats.ttest_1samp(draws, 0.0, axis=1, alternative="greater").pvalue <= 0.025).mean()
    assert 0.78 < found < 0.85


def test_the_effect_is_that_of_the_ratios_for_losses() -> None:
    a, b = {0: 1.0, 1: 10.0, 2: 100.0}, {0: 1.2, 1: 11.0, 2: 150.0}
    logs = np.log([1 / 1.2, 10 / 11, 100 / 150])
    effect = abs(logs.mean()) / logs.std(ddof=1)
    assert replicates_to_settle(a, b, "log") == replicates_for(effect, 0.025)


def test_more_open_comparisons_need_more() -> None:
    a, b = {0: 1.0, 1: 1.3, 2: 0.8}, {0: 1.2, 1: 1.4, 2: 1.3}
    one, ten = replicates_to_settle(a, b), replicates_to_settle(a, b, comparisons=10)
    assert one is not None
    assert ten is not None
    assert one < ten


def test_overlapping_draws_may_never_settle_it() -> None:
    assert replicates_for(0.5, 0.025) is not None
    assert replicates_for(0.5, 0.025, overlap=0.25) is None


@pytest.mark.parametrize(
    ("a", "b"),
    [({0: 1.0}, {0: 2.0}), ({0: 1.0, 1: 1.0}, {0: 2.0, 1: 2.0}), ({0: 1.0, 1: 2.0},) * 2],
)
def test_nothing_is_said_where_the_differences_do_not_vary(
    a: dict[int, float], b: dict[int, float]
) -> None:
    assert replicates_to_settle(a, b) is None
