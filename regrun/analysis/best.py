"""Which cells cannot be distinguished from the best, when the best is chosen from the same data.

The rotation test of `analysis.rotation`, repeated among the cells that are left as in the model
confidence set (Hansen, Lunde & Nason 2011). In every direction the best cell is chosen anew, so
that the choice is part of what chance can do. A cell as good as the best is out with a chance of at
most 5% in all, whatever the number of cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regrun.analysis.statistics import Key, agree
from regrun.metrics import Direction
from regrun.results import Scale

if TYPE_CHECKING:
    from regrun.analysis.rotation import Bools, Floats, Indices

ALPHA = 0.05
"""The chance that any cell as good as the best is said to be worse."""


@dataclass(frozen=True)
class Contenders:
    """Cells compared with the best of them, by index; those without values are left out."""

    ranking: list[int]
    """Best first."""
    p: list[float | None]
    """For each of `ranking` the p-value of being as good as the best, adjusted for all of them;
    None where nothing can be said: too few replicates, or nothing varies between them."""
    alpha: float = ALPHA

    @property
    def alike(self) -> list[int]:
        """The best, then the cells that are not distinguishable from it, best first."""
        pairs = zip(self.ranking, self.p, strict=True)
        return [index for index, p in pairs if p is None or p > self.alpha]


def compare_with_best(
    cells: Sequence[Mapping[Key, float]],
    direction: Direction = "minimize",
    scale: Scale = "linear",
    overlap: float = 0.0,
    alpha: float = ALPHA,
) -> Contenders:
    """Compare every cell with the best, on the replicates that all compared cells have.

    cells: replicate → value. A cell with fewer than two replicates, or with fewer than half as many
    as the fullest, is not compared. scale, overlap: see `analysis.statistics.mean_interval`.
    """
    import numpy as np

    present = [index for index, values in enumerate(cells) if values]
    shared = _shared_replicates([cells[index] for index in present])
    compared = [index for index in present if len(shared) > 1 and cells[index].keys() >= shared]
    logarithmic = scale == "log" and all(v > 0 for index in present for v in cells[index].values())

    def used(index: int) -> list[float]:
        values = cells[index]
        return [values[each] for each in values if index not in compared or each in shared]

    def rising(index: int) -> Floats:
        """The values on the scale, the better the lower."""
        numbers = np.log(used(index)) if logarithmic else np.asarray(used(index), np.float64)
        return numbers if direction == "minimize" else -numbers

    means = {index: float(rising(index).mean()) for index in present}
    ranking = sorted(present, key=means.__getitem__)
    constant = np.array([agree(used(index)) for index in compared])
    p: dict[int, float] = {}
    if not constant.all():
        values = np.array([rising(index) for index in compared])
        p = dict(zip(compared, p_values(values, constant, overlap, alpha).tolist(), strict=True))
    return Contenders(ranking, [p.get(index) for index in ranking], alpha)


def p_values(values: Floats, constant: Bools, overlap: float = 0.0, alpha: float = ALPHA) -> Floats:
    """For each cell the adjusted p-value of being as low as the lowest: (cells,).

    values: (cells, replicates), at least two replicates. constant: (cells,), those that do not vary
    between replicates: two of them are never distinguished. alpha: a cell is out from here down.
    """
    import numpy as np

    from regrun.analysis.rotation import spread, step_down, trust, with_overlap

    def distances(left: Indices, directions: Floats) -> Floats:
        """How far each cell is above the lowest, the replicates being turned."""
        contrasts = with_overlap(values[left] - values[left].mean(0), overlap)
        projected = directions @ contrasts.T
        best = projected.argmin(1)
        lowest, which = np.unique(best, return_inverse=True)
        squares = (contrasts**2).sum(1)
        pairs = squares[lowest, None] + squares - 2 * contrasts[lowest] @ contrasts.T
        own = trust(squares, values.shape[1])
        scales = spread(pairs, own, 2 * float(np.median(squares)))
        scales[(scales == 0) | (constant[left][lowest, None] & constant[left])] = np.inf
        above = projected - projected[np.arange(len(best)), best, None]
        return np.asarray(above / scales[which], np.float64)

    return step_down(distances, len(values), values.shape[1], alpha)


def _shared_replicates(cells: Sequence[Mapping[Key, float]]) -> set[Key]:
    """The replicates of all cells that have at least two and half as many as the fullest."""
    most = max(map(len, cells), default=0)
    full = [set(cell) for cell in cells if len(cell) >= max(2, most / 2)]
    return set.intersection(*full) if full else set()
