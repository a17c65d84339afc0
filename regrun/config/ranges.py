"""Ranges of values: ``0..4``, ``0..1:5``, ``1e-5..1e-1:log:9``; and what other tools write instead.

``A..B`` are the integers from A to B; ``A..B:N`` are N evenly spaced numbers, ``A..B:log:N`` N
numbers with a constant ratio. Both ends are included.
"""

from __future__ import annotations

import math
import re
from typing import Any

_NUM = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUM})\.\.({_NUM})(?::(log|lin))?(?::(\d+))?")
_CALL = re.compile(r"(?:(?:np|numpy|tune|optuna|trial|torch)\.)?(\w+)\((.*)\)")

MOST = 10_000
"""More values than this are a slip."""

LONGEST = 60
"""Characters of a range that a message quotes."""

DIGITS = 12
"""Significant digits of a computed value; beyond them are rounding errors."""


def expand_range(text: Any) -> list[int] | list[float] | None:
    """The values of a range; None for anything else.

    >>> expand_range("0..3"), expand_range("0..1:3"), expand_range("1e-3..1e-1:log:3")
    ([0, 1, 2, 3], [0.0, 0.5, 1.0], [0.001, 0.01, 0.1])

    Raises ValueError for a range that has no values.
    """
    found = _RANGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    first, last, scale, count = found.groups()
    text = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    low, high = float(first), float(last)
    if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
        raise ValueError(f"{text}: the first number must be below the second")
    if count is None:
        if scale or not (low.is_integer() and high.is_integer()):
            raise ValueError(f"{text}: write how many values, e.g. {text}:5")
        if high - low >= MOST:
            raise ValueError(f"{text}: more than {MOST:,} values")
        return list(range(int(low), int(high) + 1))
    number = int(count[:DIGITS])
    if not 2 <= number <= MOST:
        raise ValueError(f"{text}: needs 2 to {MOST:,} values")
    if scale == "log" and low <= 0:
        raise ValueError(f"{text}: both ends of a log range must be above 0")
    return _spaced(low, high, number, logarithmic=scale == "log")


def is_range(text: Any) -> bool:
    """Whether this is written like a range, even one without values."""
    return isinstance(text, str) and _RANGE.fullmatch(text) is not None


def _spaced(low: float, high: float, number: int, *, logarithmic: bool) -> list[int] | list[float]:
    shares = [at / (number - 1) for at in range(number)]
    if logarithmic:
        values = [low ** (1 - share) * high**share for share in shares]
    else:
        values = [low + (high - low) * share for share in shares]
    values = [low, *(float(f"{value:.{DIGITS}g}") for value in values[1:-1]), high]
    whole = not logarithmic and all(value.is_integer() for value in values)
    return [int(value) for value in values] if whole and number > 2 else values


def foreign_axis(key: str, text: str) -> str | None:
    """How regrun writes an axis that was written as another tool's function; None for others.

    >>> foreign_axis("optimizer.lr", "logspace(-4,-1,4)")
    'optimizer.lr=1e-4..1e-1:log:4'
    """
    called = _CALL.fullmatch(text.strip())
    if called is None:
        return None
    name, inside = called[1].lower(), called[2]
    words = [word.strip() for word in inside.split(",") if word.strip()]
    numbers = [word for word in words if re.fullmatch(_NUM, word)]
    if name in ("range", "arange") and numbers and len(numbers) == len(words):
        return _as_range(key, numbers)
    if len(numbers) == 3 and name in ("logspace", "linspace", "geomspace"):
        low, high, count = numbers
        if name == "logspace":
            return f"{key}=1e{low}..1e{high}:log:{count}"
        return f"{key}={low}..{high}{':log' if name == 'geomspace' else ''}:{count}"
    if name in ("choice", "choices", "grid_search", "sweep", "suggest_categorical"):
        return f"{key}={','.join(word.strip('[]') for word in words)}"
    if len(numbers) >= 2 and name in (
        "interval",
        "uniform",
        "loguniform",
        "log_uniform",
        "randint",
    ):
        kind = {"randint": "int", "interval": "uniform", "uniform": "uniform"}.get(
            name, "log_uniform"
        )
        low, high = numbers[:2]
        return f"sweep.search=random and 'sweep.space={{{key}: {{{kind}: [{low}, {high}]}}}}'"
    return None


def _as_range(key: str, numbers: list[str]) -> str | None:
    try:
        values = range(*(int(number) for number in numbers[:3]))
    except ValueError:
        return None
    if not values:
        return None
    if values.step == 1 and values[0] < values[-1]:
        return f"{key}={values[0]}..{values[-1]}"
    return f"{key}={','.join(str(value) for value in values[:50])}"
