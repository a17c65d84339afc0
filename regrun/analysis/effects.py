"""Many contrasts between cells, estimated one by one and tested together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

from regrun.analysis.statistics import AddErrors, Key, paired_difference
from regrun.results import Difference, Scale

if TYPE_CHECKING:
    from regrun.analysis.rotation import Floats, Indices


@dataclass(frozen=True)
class Contrast(Generic[Key]):
    """The sum of some cells minus the sum of others; replicate → value each.

    add_errors: what adds the error of another test set, where that is known.
    """

    plus: Sequence[Mapping[Key, float]]
    minus: Sequence[Mapping[Key, float]]
    add_errors: AddErrors | None = None

    @property
    def sides(self) -> list[Mapping[Key, float]]:
        return [*self.plus, *self.minus]


def estimate_contrasts(
    contrasts: Sequence[Contrast[Key]], scale: Scale = "linear", overlap: float = 0.0
) -> list[Difference]:
    """Each contrast with its own interval, and its p-value adjusted for all of them.

    scale, overlap: see `analysis.statistics.mean_interval`; on the scale `log` a contrast is a
    product of ratios. It is tested where some of its cells vary, on the replicates that all have.
    Where a contrast has `add_errors`, it must hold for another test set too: by its t-test with
    them, with Bonferroni's correction.
    """
    shown: Scale = "log" if scale == "log" and _all_positive(contrasts) else "linear"
    estimates = [_estimate(each, shown, overlap) for each in contrasts]
    tested = [index for index, each in enumerate(estimates) if each.p is not None]
    shared = [set.intersection(*map(set, each.sides)) for each in contrasts]
    common = sorted(set.intersection(*(shared[index] for index in tested))) if tested else []  # type: ignore[type-var]
    if len(common) < 2:
        return estimates
    adjusted = _adjusted([contrasts[index] for index in tested], common, shown, overlap)
    for index, p in zip(tested, adjusted, strict=True):
        alone = estimates[index].p
        if contrasts[index].add_errors is not None and alone is not None:
            p = max(p, min(1.0, len(tested) * alone))
        estimates[index] = estimates[index].model_copy(update={"adjusted_p": p})
    return estimates


def _estimate(contrast: Contrast[Key], scale: Scale, overlap: float) -> Difference:
    """The paired t-test of one side's sum, or product, against the other's."""
    shared = set.intersection(*map(set, contrast.sides))
    combine = math.prod if scale == "log" else math.fsum
    plus, minus = (
        {each: combine(cell[each] for cell in side) for each in shared}
        for side in (contrast.plus, contrast.minus)
    )
    return paired_difference(plus, minus, scale, overlap, contrast.add_errors)


def _adjusted(
    contrasts: Sequence[Contrast[Key]], replicates: Sequence[Key], scale: Scale, overlap: float
) -> list[float]:
    import numpy as np

    from regrun.analysis.rotation import spread, step_down, trust, with_overlap

    def values(cell: Mapping[Key, float]) -> Floats:
        numbers = np.array([cell[each] for each in replicates])
        return np.asarray(np.log(numbers) if scale == "log" else numbers, np.float64)

    rows = np.array(
        [sum(map(values, each.plus)) - sum(map(values, each.minus)) for each in contrasts]
    )
    differences = with_overlap(np.asarray(rows, np.float64), overlap)
    squares = (differences**2).sum(1)
    scales = spread(squares, trust(squares, len(replicates)), float(np.median(squares)))
    scales[scales == 0] = np.inf

    def sizes(left: Indices, directions: Floats) -> Floats:
        return np.asarray(np.abs(directions @ differences[left].T) / scales[left], np.float64)

    found: list[float] = step_down(sizes, len(rows), len(replicates)).tolist()
    return found


def _all_positive(contrasts: Sequence[Contrast[Key]]) -> bool:
    cells = [cell for each in contrasts for cell in each.sides]
    return all(value > 0 for cell in cells for value in cell.values())
