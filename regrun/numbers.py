"""Numbers and intervals as people read them, in tables and in pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regrun.results import MeanInterval

NOTHING = "–"


def number(value: Any) -> str:
    """Four significant digits; ``–`` when there is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    return f"{value:.4g}" if math.isfinite(value) else str(value)


def interval(estimate: MeanInterval | None) -> str:
    """``0.52 ± 0.03``, or ``0.52 [0.48, 0.57]`` where the interval is not symmetric."""
    if estimate is None:
        return NOTHING
    low, mean, high = estimate.low, estimate.mean, estimate.high
    if low is None or high is None:
        return number(mean)
    if estimate.scale == "linear" and math.isclose(mean - low, high - mean, rel_tol=1e-3):
        return _symmetric(mean, high - mean)
    if low > 0 and high > 2 * low:  # a factor apart: two digits each say as much as there is to say
        return f"{_significant(mean)} [{_significant(low)}, {_significant(high)}]"
    return _bracketed(low, mean, high)


def ratio(estimate: MeanInterval) -> str:
    """A difference: ``0.62 × [0.55, 0.70]`` on the scale `log`, else ``-0.12 ± 0.03``."""
    text = interval(estimate)
    if estimate.scale != "log":
        return text
    factor, bracket, bounds = text.partition(" [")
    return f"{factor} ×{bracket}{bounds}"


def _significant(value: float) -> str:
    """Two significant digits, with an exponent only where they would be far from the point."""
    rounded = float(f"{value:.2g}")
    if not 1e-4 <= rounded < 1e6:
        return f"{value:.2g}"
    return f"{rounded:.{max(1 - math.floor(math.log10(rounded)), 0)}f}"


def _symmetric(mean: float, half: float) -> str:
    """The half width to two digits, the mean to the same decimal place."""
    if not (math.isfinite(half) and half > 0):
        return f"{number(mean)} ± {half:.2g}"
    place = 1 - math.floor(math.log10(half))
    size = max(abs(mean), half)
    if half >= 1e-4 and size < 1e6:
        decimals = max(place, 0)
        return f"{mean:.{decimals}f} ± {half:.{decimals}f}"
    digits = max(place + math.floor(math.log10(size)) + 1, 2)
    return f"{mean:.{digits}g} ± {half:.2g}"


def _bracketed(low: float, mean: float, high: float) -> str:
    """All three to the second digit of the narrower side."""
    if not math.isfinite(high - low) or high == low:
        return f"{number(mean)} [{number(low)}, {number(high)}]"
    narrow = min(mean - low, high - mean)
    place = 1 - math.floor(math.log10(narrow if narrow > 0 else high - low))
    size = max(abs(low), abs(high))
    if place <= 5 and size < 1e6:
        low, mean, high = (round(each, place) for each in (low, mean, high))
        decimals = max(place, 0)
        return f"{mean:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"
    digits = max(place + math.floor(math.log10(size)) + 1, 2)
    return f"{mean:.{digits}g} [{low:.{digits}g}, {high:.{digits}g}]"
