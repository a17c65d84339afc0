"""Means, differences and corrections for values measured once per replicate.

Everything is Student's t at small n, on the scale that fits the values. Where the values allow no
statement, the bounds are None; they are never 0 wide, which would look like certainty.

Positive numbers such as losses are averaged as logarithms: their spread over replicates is a factor
rather than a summand, and a t interval of the numbers themselves covers too rarely and reaches
below 0 (Limpert, Stahel & Abbt 2001). Shares of 1 keep their arithmetic mean; the interval is made
for the log odds of the mean by the delta method (Agresti 2013, §3.1.6) and so stays within 0 and 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import TypeVar

from regrun.results import Difference, Estimate, Scale

Key = TypeVar("Key", bound=Hashable)
"""What says which replicate a value belongs to; sortable."""

AddErrors = Callable[[float, float], tuple[float, float]]
"""(standard error, degrees of freedom) of a mean over replicates → those with other sources of
error, such as the sampling of the test examples."""

CONFIDENCE = 0.95
"""Of every interval, as two-sided."""

ROUNDING = 1e-6
"""Values that differ by less, relative to the largest, differ by rounding only."""


def mean_interval(
    values: Sequence[float],
    scale: Scale = "linear",
    overlap: float = 0.0,
    add_errors: AddErrors | None = None,
) -> Estimate:
    """The mean of n ≥ 1 finite values and its t interval, without one where they do not vary.

    scale: see the module; where values are not positive, `log` is treated as `linear` with bounds
    of at least 0. overlap: m / (N − m) where every value was measured on m examples drawn from N,
    and trained on others of them. The variance of the mean is then s² (1/n + overlap) (Nadeau &
    Bengio 2003, §3, where all others are trained on). add_errors: on the scale `log` it is given,
    and gives, the error of the logarithm. Raises ValueError on no values.
    """
    if not values:
        raise ValueError("no values to average")
    if scale == "log" and min(values) > 0 and len(values) > 1:
        logs = mean_interval([math.log(each) for each in values], "linear", overlap, add_errors)
        low, high = (None if bound is None else _exp(bound) for bound in (logs.low, logs.high))
        if agree(values) and add_errors is None:
            low = high = None
        return Estimate(mean=_exp(logs.mean), low=low, high=high, n=logs.n, scale="log")
    mean, n = _mean(values), len(values)
    half = _half_width(values, mean, overlap, add_errors)
    if half is None:
        return Estimate(mean=mean, low=None, high=None, n=n, scale=scale)
    low, high = mean - half, mean + half
    if scale == "fraction" and 0 < mean < 1:
        odds, ratio = math.log(mean / (1 - mean)), half / (mean * (1 - mean))
        low, high = _share(odds - ratio), _share(odds + ratio)
        return Estimate(mean=mean, low=low, high=high, n=n, scale="fraction")
    if scale != "linear" and min(values) >= 0:
        low = max(low, 0.0)
    return Estimate(mean=mean, low=low, high=high, n=n)


def paired_difference(
    a: Mapping[Key, float],
    b: Mapping[Key, float],
    scale: Scale = "linear",
    overlap: float = 0.0,
    add_errors: AddErrors | None = None,
) -> Difference:
    """The paired t-test of a − b, on the scale `log` of a / b.

    ``a`` and ``b`` map a replicate to the value measured with it; only replicates in both count.
    Pairing takes out what the replicates have in common (the initial weights, the order of batches,
    the split), so it sees differences that two separate intervals hide. With fewer than two shared
    replicates, or where neither side varies, nothing can be said: ``low``, ``high`` and ``p`` are
    None; without any, ``mean`` is nan. overlap, add_errors: see `mean_interval`.
    """
    differences, used = paired_differences(a, b, scale)
    if not differences:
        return Difference(mean=math.nan, low=None, high=None, p=None, n=0)
    mean, n = _mean(differences), len(differences)
    ratio = used == "log"
    shown = _exp(mean) if ratio else mean
    if n < 2 or all(agree([side[each] for each in a.keys() & b.keys()]) for side in (a, b)):
        return Difference(mean=shown, low=None, high=None, p=None, n=n, scale=used)
    error, df = standard_error(differences, mean, overlap), float(n - 1)
    if add_errors is not None:
        error, df = add_errors(error, df)
    half = _t_quantile(df, 0.5 + CONFIDENCE / 2) * error
    p = 2 * _t_tail(n - 1, abs(mean) / error) if error else float(mean == 0)
    low, high = mean - half, mean + half
    if ratio:
        low, high = _exp(low), _exp(high)
    return Difference(mean=shown, low=low, high=high, p=p, n=n, scale=used)


def paired_differences(
    a: Mapping[Key, float], b: Mapping[Key, float], scale: Scale
) -> tuple[list[float], Scale]:
    """a − b of every replicate in both, or log a − log b where the scale is `log` and all are > 0.

    Returns the differences in the order of the replicates, and the scale that they are on.
    """
    shared = sorted(a.keys() & b.keys())  # type: ignore[type-var]
    if scale == "log" and all(a[each] > 0 and b[each] > 0 for each in shared):
        return [math.log(a[each]) - math.log(b[each]) for each in shared], "log"
    return [a[each] - b[each] for each in shared], "linear"


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


def agree(values: Sequence[float]) -> bool:
    """Whether values are equal up to rounding, so that they say nothing about their spread."""
    low, high = min(values), max(values)
    return high - low <= ROUNDING * max(abs(low), abs(high))


def standard_error(values: Sequence[float], mean: float, overlap: float = 0.0) -> float:
    """The standard error of the mean of n ≥ 2 values, s √(1/n + overlap); see `mean_interval`."""
    # Scaled, because the square of a diverging loss can exceed the largest float.
    largest = max(abs(value - mean) for value in values)
    if largest == 0:
        return 0.0
    squares = math.fsum(((value - mean) / largest) ** 2 for value in values)
    n = len(values)
    return largest * math.sqrt(squares / (n - 1) * (1 / n + overlap))


def _half_width(
    values: Sequence[float], mean: float, overlap: float, add_errors: AddErrors | None
) -> float | None:
    if len(values) < 2 or (agree(values) and add_errors is None):
        return None
    error, df = standard_error(values, mean, overlap), float(len(values) - 1)
    if add_errors is not None:
        error, df = add_errors(error, df)
    return _t_quantile(df, 0.5 + CONFIDENCE / 2) * error


def _mean(values: Sequence[float]) -> float:
    if agree(values) and min(values) == max(values):
        return values[0]
    return math.fsum(value / len(values) for value in values)


def _exp(value: float) -> float:
    """exp, inf where it is larger than any float."""
    return math.exp(value) if value < 709 else math.inf


def _share(odds: float) -> float:
    """The share whose log odds these are."""
    return 1 / (1 + _exp(-odds))


@cache
def _t_quantile(degrees: float, probability: float) -> float:
    # scipy.special loads in a tenth of the time of scipy.stats, and has the same functions.
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _t_tail(degrees: int, t: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, -t))
