"""Which cells stay in a race: those that have not been shown to be worse than the best.

A race looks at its cells again and again while their replicates come in, and every look is a chance
to drop a good one. The looks share one error: look k may spend α / (k (k + 1)), which adds up to at
most α however long the race goes on, and whatever it is that the looks depend on (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from regrun.analysis.best import ALPHA, compare_with_best
from regrun.analysis.statistics import Key
from regrun.metrics import Direction
from regrun.results import Scale


def race_survivors(
    cells: Sequence[Mapping[Key, float]],
    direction: Direction = "minimize",
    alpha: float = ALPHA,
    scale: Scale = "linear",
    overlap: float = 0.0,
) -> list[int]:
    """The indices of the cells that are not worse than the best, in their order.

    cells: replicate → value of those that are still in the race; one without any value is out.
    alpha: the chance that this look drops a cell as good as the best; see `alpha_of_look`. scale,
    overlap: see `analysis.statistics.mean_interval`.
    """
    return sorted(compare_with_best(cells, direction, scale, overlap, alpha).alike)


def alpha_of_look(look: int, alpha: float = ALPHA) -> float:
    """What a look may spend of the error of the whole race. look: counted from 1."""
    return alpha / (look * (look + 1))
