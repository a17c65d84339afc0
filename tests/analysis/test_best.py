"""The comparison with the best: what it claims, and how often it is wrong.

Independent references: the paired t-test of SciPy for two cells, and simulations of the null
hypothesis. `benchmarks/claims.py` simulates more of them.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from regrun.analysis import rotation
from regrun.analysis.best import compare_with_best, p_values
from tests.support.simulated_cells import SETTINGS, simulated_cells

NOISE = [0.01, -0.02, 0.015, 0.0, -0.005]
GOOD = {seed: 1.0 + value for seed, value in enumerate(NOISE)}
BAD = {seed: 5.0 - value for seed, value in enumerate(NOISE)}


def test_a_clear_winner_stands_alone() -> None:
    assert compare_with_best([BAD, GOOD]).alike == [1]
    assert compare_with_best([BAD, GOOD], "maximize").alike == [0]


def test_no_winner_is_named_where_the_difference_may_be_chance() -> None:
    a = {0: 1.0, 1: 2.0, 2: 3.0}
    b = {0: 1.1, 1: 1.8, 2: 3.3}
    assert compare_with_best([b, a]).alike == [1, 0]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=9))
def test_of_two_cells_it_is_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    if np.ptp(a - b) < 1e-2 or np.ptp(a) < 1e-2:
        return
    (_, p) = compare_with_best([dict(enumerate(a.tolist())), dict(enumerate(b.tolist()))]).p
    theirs = stats.ttest_rel(a, b).pvalue
    assert p == pytest.approx(theirs, abs=4 * np.sqrt(theirs * (1 - theirs) / 10_000) + 3e-4)


def test_losses_are_compared_as_ratios() -> None:
    """A tenth in every replicate, whose sizes are decades apart."""
    sizes = np.array([1e-6, 1e-3, 1.0, 1e3, 10.0])
    factors = np.array([0.1, 0.11, 0.09, 0.1, 0.105])
    large = dict(enumerate(sizes.tolist()))
    small = dict(enumerate((sizes * factors).tolist()))
    assert compare_with_best([large, small], scale="log").alike == [1]
    assert compare_with_best([large, small]).alike == [1, 0]


def test_a_cell_with_one_replicate_is_left_open() -> None:
    compared = compare_with_best([{0: 1.0, 1: 1.1}, {0: 50.0}])
    assert compared.alike == [0, 1]
    assert compared.p[1] is None


def test_a_cell_with_few_replicates_does_not_take_them_from_the_others() -> None:
    compared = compare_with_best([BAD, GOOD, {0: 2.0}])
    assert compared.ranking == [1, 2, 0]
    assert compared.alike == [1, 2]


def test_cells_without_values_are_left_out_and_of_none_nothing_is_said() -> None:
    assert compare_with_best([{}, GOOD, BAD]).alike == [1]
    assert compare_with_best([{}, {}]).alike == []
    assert compare_with_best([]).alike == []


def test_nothing_is_claimed_where_no_replicate_changes_anything() -> None:
    constant = [{seed: loss + 1e-14 * seed for seed in range(5)} for loss in (3.0, 1.0, 2.0)]
    compared = compare_with_best(constant)
    assert compared.ranking == [1, 2, 0]
    assert compared.alike == [1, 2, 0]
    assert compared.p == [None, None, None]


def test_two_cells_that_never_vary_are_not_distinguished_among_others_that_do() -> None:
    low = dict.fromkeys(range(5), 0.5)
    high = dict.fromkeys(range(5), 0.6)
    assert compare_with_best([BAD, low, high]).alike == [1, 2]


def test_overlapping_draws_of_the_data_make_it_harder_to_be_different() -> None:
    rng = np.random.default_rng(0)
    cells = [
        dict(enumerate((rng.normal(size=5) + shift).tolist())) for shift in (0.0, 2.4, 2.4, 2.4)
    ]
    plain, corrected = compare_with_best(cells), compare_with_best(cells, overlap=1.0)
    assert plain.ranking == corrected.ranking
    pairs = [
        (few, many)
        for few, many in zip(plain.p, corrected.p, strict=True)
        if few is not None and many is not None and few < 1
    ]
    assert pairs
    assert all(few < many for few, many in pairs)


def test_the_order_of_the_cells_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    cells = [dict(enumerate((rng.normal(size=6) + shift).tolist())) for shift in (0, 0, 5, 0.5, 5)]
    order = [3, 0, 4, 1, 2]
    plain = compare_with_best(cells)
    moved = compare_with_best([cells[index] for index in order])
    assert [order[index] for index in moved.ranking] == plain.ranking
    assert moved.p == pytest.approx(plain.p)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("cells", "replicates"), [(2, 3), (10, 3), (10, 10), (50, 5)])
def test_equally_good_cells_are_called_different_in_one_of_20_sweeps(
    setting: str, cells: int, replicates: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 sweeps: 95% of such simulations of an error of 5% lie below 7%."""
    monkeypatch.setattr(rotation, "DIRECTIONS", 1000)
    rng = np.random.default_rng(cells * replicates)
    constant = np.zeros(cells, bool)
    wrong = sum(
        bool((p_values(simulated_cells(rng, setting, cells, replicates), constant) <= 0.05).any())
        for _ in range(400)
    )
    assert stats.binomtest(wrong, 400, 0.055, "greater").pvalue > 0.005


@pytest.mark.parametrize("setting", SETTINGS)
def test_nor_more_often_where_others_are_worse(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "DIRECTIONS", 1000)
    rng = np.random.default_rng(7)
    worse = np.repeat([0.0, 4.0], 5)
    wrong = 0
    for _ in range(400):
        values = simulated_cells(rng, setting, 10, 5) + worse[:, None]
        wrong += bool((p_values(values, np.zeros(10, bool))[:5] <= 0.05).any())
    assert stats.binomtest(wrong, 400, 0.055, "greater").pvalue > 0.005


def test_it_finds_a_worse_cell_nearly_as_often_as_tukeys_range_test(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Tukey's test is the best known where variances are equal, and wrong where they are not."""
    monkeypatch.setattr(rotation, "DIRECTIONS", 1000)
    rng = np.random.default_rng(3)
    found = tukey = 0
    cells, n = 10, 5
    bound = stats.studentized_range.ppf(0.95, cells, (cells - 1) * (n - 1))
    for _ in range(300):
        values = simulated_cells(rng, "equal", cells, n)
        values[-1] += 2 * np.sqrt(2)
        found += p_values(values, np.zeros(cells, bool))[-1] <= 0.05
        rest = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        error = np.sqrt((rest**2).sum() / ((cells - 1) * (n - 1)) / n)
        means = values.mean(1)
        tukey += (means[-1] - means.min()) / error > bound
    assert found >= 0.9 * tukey


def test_a_thousand_cells_are_compared_at_once() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1000, 5)) + np.linspace(0, 30, 1000)[:, None]
    out = p_values(values, np.zeros(1000, bool)) <= 0.05
    assert not out[0]
    assert out[500:].all()
