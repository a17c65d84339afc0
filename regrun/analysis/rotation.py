"""The step-down rotation test: which of many statements hold, with one error for all of them.

Langsrud 2005, Statistics and Computing 15. Each statement rests on a vector of differences with one
entry per replicate. Where there is no difference, and the values are normal with any variances and
any correlations, turning the replicates in a random direction changes nothing in distribution. So
the largest of all statistics, over many directions, shows how large the largest becomes by chance.
The statements beyond its 95% point hold; the test is repeated with the others until none is beyond
(Westfall & Young 1993, §2.6).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

ALPHA = 0.05
"""The chance of any false statement in one family."""

DIRECTIONS = 10_000

CHUNK = 500
"""Directions at once, so that many cells do not fill the memory."""

Statistics = Callable[[Indices, Floats], Floats]
"""(indices of the statements that are left, directions (D, n)) → (D, left), large where there is a
difference. A direction stands for the one in which equal entries point."""


def step_down(statistics: Statistics, count: int, n: int, alpha: float = ALPHA) -> Floats:
    """The adjusted p-value of each statement: (count,). It holds where that is at most `alpha`.

    n: replicates, at least 2.
    """
    directions = _directions(n, DIRECTIONS)
    chunks = [directions[start : start + CHUNK] for start in range(0, DIRECTIONS, CHUNK)]
    observed = np.full((1, n), 1 / np.sqrt(n))
    p = np.ones(count)
    left = np.arange(count)
    largest_held = 0.0
    while len(left):
        by_chance = np.concatenate([statistics(left, chunk).max(1) for chunk in chunks])
        by_chance.sort()
        beyond = DIRECTIONS - np.searchsorted(by_chance, statistics(left, observed)[0])
        p[left] = np.maximum((1 + beyond) / (1 + DIRECTIONS), largest_held)
        holds = p[left] <= alpha
        if not holds.any():
            break
        largest_held = float(p[left][holds].max())
        left = left[~holds]
    return p


def spread(squares: Floats, own: float, typical: float) -> Floats:
    """What a difference is divided by, from its sum of squares and from that of a typical one.

    own: how far its own is to be trusted; see `trust`. Turning changes none of the three.
    """
    return np.asarray(np.sqrt(own * np.maximum(squares, 0) + (1 - own) * typical), np.float64)


def trust(squares: Floats, n: int) -> float:
    """How far sums of n squares should be taken for themselves, and not for the typical one.

    A sum of few squares is poorly known, but the typical one is wrong where variances are unequal.
    The share of the variance of their logarithms that equal variances do not explain: 0 to 1, to
    first order the empirical Bayes weight of Smyth 2004, §6.2.
    """
    from scipy.special import polygamma

    logs = np.log(squares[squares > 0])
    found = float(logs.var(ddof=1)) if len(logs) > 2 else 0.0
    expected = float(polygamma(1, n / 2))
    return max(0.0, 1 - expected / found) if found else 0.0


def with_overlap(differences: Floats, overlap: float) -> Floats:
    """Shrink the means of vectors of differences between overlapping draws of the data.

    Such means vary more than the replicates show: by s² (1/n + overlap), Nadeau & Bengio 2003.
    differences: (…, n).
    """
    if not overlap:
        return differences
    means = differences.mean(-1, keepdims=True)
    n = differences.shape[-1]
    return np.asarray(differences + means * (1 / np.sqrt(1 + n * overlap) - 1), np.float64)


@cache
def _directions(n: int, count: int) -> Floats:
    """Random directions in n dimensions, (count, n), always the same."""
    normal = np.random.default_rng(n).standard_normal((count, n))
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True), np.float64)
