"""Means, differences and corrections for values measured once per seed.

Everything is Student's t at small n. Where n allows no statement, the bounds are None; they are
never 0, which would look like certainty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache

from regrun.metrics import Direction
from regrun.results import Difference, Estimate

CONFIDENCE = 0.95
"""Of every interval, as two-sided."""


def mean_interval(values: Sequence[float]) -> Estimate:
    """The mean of n ≥ 1 finite values, ± t₍n−1₎ · s / √n. Raises ValueError on no values."""
    if not values:
        raise ValueError("no values to average")
    n = len(values)
    mean = math.fsum(value / n for value in values)
    if n == 1:
        return Estimate(mean=mean, low=None, high=None, n=1)
    half = _t_quantile(n - 1, 0.5 + CONFIDENCE / 2) * _standard_error(values, mean)
    return Estimate(mean=mean, low=mean - half, high=mean + half, n=n)


def paired_difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """The paired t-test of a − b; ``a`` and ``b`` map a seed to the value measured with it.

    Only seeds in both count. Pairing takes out what the seeds have in common (the initial
    weights, the order of batches), so it sees differences that two separate intervals hide.
    With fewer than two shared seeds nothing can be said: ``low``, ``high`` and ``p`` are None;
    without any, ``mean`` is nan.
    """
    differences = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    if not differences:
        return Difference(mean=math.nan, low=None, high=None, p=None, n=0)
    interval, p = mean_interval(differences), None
    if interval.n > 1:
        error = _standard_error(differences, interval.mean)
        if error == 0:
            p = 1.0 if interval.mean == 0 else 0.0
        else:
            p = 2 * _t_tail(interval.n - 1, abs(interval.mean) / error)
    return Difference(**dict(interval), p=p)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for being many (Holm 1979), in the order given.

    Comparing each with α keeps the chance of even one false finding below α, whatever the
    dependence between the tests.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    running = 0.0
    for rank, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        running = max(running, min(1.0, (count - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def indistinguishable_from_best(
    cells: Sequence[Mapping[int, float]], direction: Direction = "minimize", alpha: float = 0.05
) -> list[int]:
    """Indices of the best cell, then of those that are not distinguishable from it.

    ``cells`` map seeds to values. The best has the lowest (``maximize``: highest) mean; every other
    cell is compared with it on shared seeds, with Holm's correction. A cell that shares fewer
    than two seeds with the best is not distinguishable from it. Cells without values are left out.
    Only a list of one names a winner.
    """
    sign = 1 if direction == "minimize" else -1
    present = [index for index, values in enumerate(cells) if values]
    if not present:
        return []
    best = min(present, key=lambda index: sign * mean_interval(list(cells[index].values())).mean)
    others = [index for index in present if index != best]
    p_values = [paired_difference(cells[index], cells[best]).p for index in others]
    known = [p for p in p_values if p is not None]
    adjusted = iter(holm(known))
    return [best] + [
        index
        for index, p in zip(others, p_values, strict=True)
        if p is None or next(adjusted) > alpha
    ]


def _standard_error(values: Sequence[float], mean: float) -> float:
    # Scaled, because the square of a diverging loss can exceed the largest float.
    largest = max(abs(value - mean) for value in values)
    if largest == 0:
        return 0.0
    squares = math.fsum(((value - mean) / largest) ** 2 for value in values)
    return largest * math.sqrt(squares / (len(values) - 1) / len(values))


@cache
def _t_quantile(degrees: int, probability: float) -> float:
    # scipy.special loads in a tenth of the time of scipy.stats, and has the same functions.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _t_tail(degrees: int, t: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))
