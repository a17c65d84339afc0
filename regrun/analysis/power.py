"""How many replicates a comparison needs before it can be settled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

from regrun.analysis.best import ALPHA
from regrun.analysis.statistics import Key, agree, paired_differences, standard_error
from regrun.results import Scale

POWER = 0.8
"""The chance with which the difference would be found."""

LARGEST = 100.0
"""Effects beyond are as large; SciPy's distribution ends there."""

MOST = 1000
"""More replicates than these are not worth naming."""


def replicates_to_settle(
    a: Mapping[Key, float],
    b: Mapping[Key, float],
    scale: Scale = "linear",
    overlap: float = 0.0,
    comparisons: int = 1,
) -> int | None:
    """Replicates in all with which a paired t-test would find the difference that was seen.

    a, b: replicate → value. scale, overlap: see `analysis.statistics.mean_interval`. comparisons:
    how many are open; their error of 5% is divided among them. None where `MOST` are too few, or
    nothing can be said. What was seen is itself uncertain, so this is a guess.
    """
    differences, _ = paired_differences(a, b, scale)
    if len(differences) < 2 or agree(differences):
        return None
    n = len(differences)
    mean = math.fsum(differences) / n
    deviation = standard_error(differences, mean) * math.sqrt(n)
    return replicates_for(min(abs(mean) / deviation, LARGEST), ALPHA / 2 / comparisons, overlap)


@cache
def replicates_for(effect: float, alpha: float, overlap: float = 0.0) -> int | None:
    """The fewest with which a one-sided paired t-test at `alpha` has the power `POWER`.

    effect: mean over standard deviation of the differences. None: more than `MOST`.
    """
    from scipy.special import nctdtr, stdtrit

    def power(n: int) -> float:
        spread = math.sqrt(1 / n + overlap)
        return 1 - float(nctdtr(n - 1, effect / spread, stdtrit(n - 1, 1 - alpha)))

    if effect == 0 or not power(MOST) >= POWER:
        return None
    low, high = 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
