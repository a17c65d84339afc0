"""Contrasts of many cells: each one's interval, and the error of all statements together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from regrun.analysis import rotation
from regrun.analysis.effects import Contrast, estimate_contrasts
from regrun.analysis.statistics import paired_difference
from tests.benchmarks.claims import ablation
from tests.support.simulated_cells import SETTINGS, simulated_cells


def numbered(values: list[float]) -> dict[int, float]:
    return dict(enumerate(values))


A, B = numbered([1.0, 1.2, 0.9, 1.1]), numbered([2.0, 2.4, 2.1, 2.0])
C, D = numbered([1.5, 1.8, 1.3, 1.6]), numbered([3.0, 3.1, 3.3, 3.2])


def test_a_single_contrast_of_two_cells_is_their_paired_t_test() -> None:
    (ours,) = estimate_contrasts([Contrast([A], [B])])
    theirs = paired_difference(A, B)
    assert (ours.mean, ours.low, ours.high, ours.p) == (
        theirs.mean, theirs.low, theirs.high, theirs.p,
    )  # fmt: skip
    assert ours.p is not None
    assert ours.adjusted_p == pytest.approx(ours.p, abs=0.005)


def test_an_interaction_is_the_t_test_of_the_double_difference() -> None:
    (ours,) = estimate_contrasts([Contrast([A, D], [B, C])])
    doubled = [A[s] - B[s] - C[s] + D[s] for s in range(4)]
    theirs = stats.ttest_1samp(doubled, 0.0)
    assert ours.mean == pytest.approx(np.mean(doubled))
    assert ours.p == pytest.approx(theirs.pvalue)


def test_on_a_log_scale_it_is_a_ratio_of_ratios() -> None:
    (ours,) = estimate_contrasts([Contrast([A, D], [B, C])], "log")
    ratios = [A[s] * D[s] / (B[s] * C[s]) for s in range(4)]
    assert ours.scale == "log"
    assert ours.mean == pytest.approx(stats.gmean(ratios))


def test_where_nothing_varies_nothing_is_stated() -> None:
    same = numbered([1.0] * 4)
    constant, real = estimate_contrasts(
        [Contrast([same], [numbered([2.0] * 4)]), Contrast([A], [B])]
    )
    assert (constant.p, constant.adjusted_p, constant.is_certain) == (None, None, False)
    assert real.is_certain


def test_a_replicate_that_one_cell_lacks_counts_in_none_of_the_statements() -> None:
    short = {seed: value for seed, value in A.items() if seed}
    found = estimate_contrasts([Contrast([short], [B]), Contrast([C], [D])])
    assert [each.n for each in found] == [3, 4]
    assert all(each.adjusted_p is not None for each in found)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("ingredients", [2, 8])
def test_an_ablation_without_effects_shows_a_star_in_one_of_20(
    setting: str, ingredients: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two effects and an interaction of each; 400 ablations with 5 seeds."""
    monkeypatch.setattr(rotation, "DIRECTIONS", 1000)
    rng = np.random.default_rng(ingredients)
    stars = 0
    for _ in range(400):
        values = simulated_cells(rng, setting, 2 + 2 * ingredients, 5)
        stars += any(each.is_certain for each in estimate_contrasts(ablation(values)))
    assert stats.binomtest(stars, 400, 0.055, "greater").pvalue > 0.005
