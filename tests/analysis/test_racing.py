"""The error of a race over all its looks, and what a look drops."""

from __future__ import annotations

import numpy as np
import pytest

from regrun.analysis.racing import alpha_of_look, race_survivors

LOOKS = (3, 5, 7, 9, 11)
RACES = 300


def drawn(rng: np.random.Generator, cells: int, worse: float) -> list[dict[int, float]]:
    """Cells whose replicates have much in common; the last is worse, in standard deviations."""
    common = 2 * rng.normal(size=LOOKS[-1])
    values = common + rng.normal(size=(cells, LOOKS[-1]))
    values[-1] += worse
    return [dict(enumerate(row.tolist())) for row in values]


def raced(cells: list[dict[int, float]], shared_error: bool = True) -> dict[int, int]:
    """Cell → the replicates with which it was dropped."""
    left = list(range(len(cells)))
    dropped: dict[int, int] = {}
    for look, count in enumerate(LOOKS, start=1):
        seen = [{key: cells[at][key] for key in range(count)} for at in left]
        alpha = alpha_of_look(look) if shared_error else 0.05
        kept = [left[each] for each in race_survivors(seen, alpha=alpha)]
        dropped |= {cell: count for cell in left if cell not in kept}
        left = kept
    return dropped


def test_the_looks_share_one_error_however_many_there_are() -> None:
    assert sum(alpha_of_look(look, 0.05) for look in range(1, 10_000)) == pytest.approx(0.05, 1e-3)


@pytest.mark.parametrize("cells", [2, 8])
def test_a_race_drops_a_cell_as_good_as_the_best_in_at_most_5_percent(cells: int) -> None:
    rng = np.random.default_rng(cells)
    races = [drawn(rng, cells, 0.0) for _ in range(RACES)]
    share = np.mean([bool(raced(each)) for each in races])
    without = np.mean([bool(raced(each, shared_error=False)) for each in races])
    assert share <= 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / RACES)
    assert without > 0.08  # what the looks would cost if each had an error of its own


def test_a_cell_that_is_clearly_worse_is_soon_out() -> None:
    rng = np.random.default_rng(1)
    dropped = [raced(drawn(rng, 6, 6.0)) for _ in range(40)]
    assert np.mean([each.get(5, 99) <= 5 for each in dropped]) > 0.9


def test_a_look_keeps_what_it_cannot_judge_and_drops_what_has_no_value() -> None:
    best = {0: 1.0, 1: 1.1, 2: 0.9, 3: 1.05}
    worse = {key: value + 5 for key, value in best.items()}
    equal = {0: 1.05, 1: 1.0, 2: 1.0, 3: 1.0}
    cells: list[dict[int, float]] = [worse, best, {}, {0: 9.0}, equal]
    assert race_survivors(cells) == [1, 3, 4]
    assert race_survivors(cells, "maximize") == [0, 3]
